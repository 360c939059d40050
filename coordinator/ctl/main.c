/* guildbusctl - the operator's tool. Decodes bodies itself, statically linked, so that it can be
 * copied anywhere; each other verb is done by guildbusctl-api, which stands beside it. */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xmem.h"
#include "coordinator/ctl/decode.h"
#include "coordinator/ctl/exit.h"

enum { LARGEST_BODY = 64 * 1024 * 1024 }; /* nats-server: the highest max_payload */

static const char help[] =
    "guildbusctl - looks at a Guildbus cluster and moves its guilds\n"
    "\n"
    "usage: guildbusctl VERB [options]\n"
    "\n"
    "  status                what the cluster is and how much it does\n"
    "  pods                  the pods, their load and their shards\n"
    "  guilds                which pod owns which guild [--limit N] [--after GUILD]\n"
    "  moves                 the latest moves of guilds [--limit N]\n"
    "  reassign GUILD POD    moves a guild and waits until it is there [--no-wait] [--timeout SECONDS]\n"
    "  drain POD             moves all guilds and shards off a pod and waits until it is empty; its\n"
    "                        process stays and gets none until undrain [--no-wait] [--timeout SECONDS]\n"
    "  undrain POD           lets the pod take guilds again\n"
    "  rebalance             evens out what the pods carry [--dry-run] [--force] [--limit N]\n"
    "  reshard COUNT|auto    goes over to so many Discord shards (auto: as many as Discord recommends)\n"
    "                        while the former ones go on, so that no event is lost [--dry-run]; status\n"
    "                        shows how far it is; reshard --cancel gives it up\n"
    "  history [GUILD]       who owned what, when and why, the latest first [--limit N]\n"
    "  deploy-commands       compares the bot's commands with those that Discord has and writes them if\n"
    "                        something differs [--dry-run] [--guild GUILD]\n"
    "  nats-keys FOLDER      makes the programs' keys for NATS that are not there yet, and nats.env with\n"
    "                        their public halves for nats-server (deploy/nats/auth.conf)\n"
    "  rotate-nats-key FOLDER USER\n"
    "                        the user's spare key becomes its key, and a new spare one is made\n"
    "  decode                message body on stdin -> JSON [--subject SUBJECT]; exit code always 0:\n"
    "                        nats sub --translate 'guildbusctl decode' SUBJECT\n"
    "\n"
    "  --json                prints JSON instead of a table\n"
    "  --help, --version\n"
    "\n"
    "  CONFIG_SERVICE_URL    where the coordinator is (http://127.0.0.1:7080)\n"
    "  COORDINATOR_TOKEN     allows changes; or COORDINATOR_TOKEN_FILE, a file that holds it\n"
    "\n"
    "  DISCORD_TOKEN         for deploy-commands: the bot's token, or DISCORD_TOKEN_FILE\n"
    "  DISCORD_APPLICATION_ID  and its application's id\n"
    "  DISCORD_API_URL       Discord's REST API (https://discord.com/api/v10)\n"
    "\n"
    "exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 coordinator or Discord\n"
    "unavailable\n";

static bool has_flag(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], flag))
            return true;
    }
    return false;
}

static const char *option(int argc, char **argv, const char *name)
{
    size_t n = strlen(name);

    for (int i = 2; i < argc; i++) {
        if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
            return argv[i] + n + 1;
        if (!strcmp(argv[i], name) && i + 1 < argc)
            return argv[i + 1];
    }
    return NULL;
}

static char *read_all(FILE *in, size_t *ret_size)
{
    size_t size = 0, room = (size_t)64 * 1024;
    char *data = xcalloc(1, room);

    for (size_t n; size < LARGEST_BODY && (n = fread(data + size, 1, room - size, in)) > 0;) {
        size += n;
        if (size < room)
            continue;
        char *larger = xcalloc(1, room * 2);
        memcpy(larger, data, size);
        free(data);
        data = larger;
        room *= 2;
    }
    *ret_size = size;
    return data;
}

/* `nats sub --translate` shows nothing of a message whose command fails, so this one never does. */
static int decode(int argc, char **argv)
{
    size_t size;

    (void)signal(SIGPIPE, SIG_IGN);
    char *data = read_all(stdin, &size);
    decode_body(data, size, option(argc, argv, "--subject"), stdout);
    (void)fflush(stdout);
    free(data);
    return CTL_DONE;
}

static int run_api(char **argv)
{
    static const char name[] = "guildbusctl-api";
    char path[PATH_MAX + sizeof(name)];
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    memcpy(slash ? slash + 1 : path, name, sizeof(name));
    execv(path, argv);
    (void)fprintf(stderr, "guildbusctl: cannot run %s; it belongs beside guildbusctl\n", path);
    return CTL_FAILED;
}

static bool is_api_verb(const char *verb)
{
    static const char *const verbs[] = {
        "status",          "pods",      "guilds",         "moves",   "reassign",
        "drain",           "undrain",   "rebalance",      "reshard", "history",
        "deploy-commands", "nats-keys", "rotate-nats-key"
    };

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!strcmp(verb, verbs[i]))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    if (has_flag(argc, argv, "--help") || has_flag(argc, argv, "-h"))
        return fputs(help, stdout) >= 0 ? CTL_DONE : CTL_FAILED;
    if (has_flag(argc, argv, "--version"))
        return printf("guildbusctl %s\n", GUILDBUS_VERSION) > 0 ? CTL_DONE : CTL_FAILED;
    if (argc > 1 && !strcmp(argv[1], "decode"))
        return decode(argc, argv);
    if (argc > 1 && is_api_verb(argv[1]))
        return run_api(argv);
    if (argc > 1)
        (void)fprintf(stderr, "guildbusctl: no verb \"%s\"\n", argv[1]);
    (void)fputs("guildbusctl: see guildbusctl --help\n", stderr);
    return CTL_USAGE;
}
