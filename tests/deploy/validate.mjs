// validate.mjs OBJECTS.json: what is wrong with Kubernetes objects, a line each; nothing when all are right.
//
// Two ways, because neither sees everything: the models' validate() knows missing fields, types and formats; TypeScript,
// told that the object satisfies the model's interface, knows fields that do not exist. TypeScript names one unknown
// field of an object at a time, so one line may hide another.
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

const PACKAGES = [
    [/^(monitoring\.coreos\.com)\//, "@kubernetes-models/prometheus-operator"],
    [/^(gateway\.networking\.k8s\.io)\//, "@kubernetes-models/gateway-api"],
    [/^(cert-manager\.io)\//, "@kubernetes-models/cert-manager"],
    [/./, "kubernetes-models"],
];
const objects = JSON.parse(readFileSync(process.argv[2], "utf8"));
const complaints = [];
const nameOf = (object) => `${object.kind}/${object.metadata?.name}`;
const moduleOf = (object) =>
    `${PACKAGES.find(([group]) => group.test(object.apiVersion))[1]}/${object.apiVersion}`;

async function validate(object) {
    let model;
    try {
        model = (await import(moduleOf(object)))[object.kind];
    } catch {
        // said below
    }
    if (!model) {
        complaints.push(`${nameOf(object)}: nobody knows ${object.apiVersion} ${object.kind}`);
        return false;
    }
    try {
        new model(object).validate();
    } catch (error) {
        complaints.push(`${nameOf(object)}: ${error.message}`);
    }
    return true;
}

function unknownFields(known) {
    const folder = mkdtempSync(path.join(process.cwd(), "typed-"));
    try {
        const files = known.map((object, n) => {
            const file = path.join(folder, `${n}.ts`);
            writeFileSync(file, `import type { I${object.kind} } from "${moduleOf(object)}";\n` +
                `export default ${JSON.stringify(object, null, 1)} satisfies I${object.kind};\n`);
            return file;
        });
        const program = ts.createProgram(files, {
            noEmit: true, strict: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022,
            module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
        });
        for (const found of ts.getPreEmitDiagnostics(program)) {
            const object = known[files.indexOf(found.file?.fileName)];
            const text = ts.flattenDiagnosticMessageText(found.messageText, " ");
            complaints.push(`${object ? nameOf(object) : "tsc"}: ${text.slice(0, 300)}`);
        }
    } finally {
        rmSync(folder, { recursive: true });
    }
}

const known = [];
for (const object of objects)
    if (await validate(object)) known.push(object);
unknownFields(known);
for (const complaint of complaints) console.log(complaint);
