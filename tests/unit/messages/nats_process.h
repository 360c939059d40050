/* nats_process.h - a nats-server of the test's own, on a port that the server chose. */
#ifndef TESTS_UNIT_MESSAGES_NATS_PROCESS_H
#define TESTS_UNIT_MESSAGES_NATS_PROCESS_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct nats_process {
    pid_t pid;
    char folder[64], url[96];
};

static void nats_exec(const struct nats_process *n, bool jetstream)
{
    int log = open("/dev/null", O_WRONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing running */
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir",
           n->folder, "-sd", n->folder, jetstream ? "-js" : NULL, NULL);
    _exit(127);
}

/* The ports file is {"nats":["nats://127.0.0.1:40123"],…}; false: not written yet. */
static bool nats_read_ports(struct nats_process *n)
{
    char path[160], text[1024] = "";

    (void)snprintf(path, sizeof(path), "%s/nats-server_%d.ports", n->folder, (int)n->pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    (void)!fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    const char *url = strstr(text, "nats://");
    if (!url || !strchr(text, '}'))
        return false;
    (void)snprintf(n->url, sizeof(n->url), "%.*s", (int)strcspn(url, "\""), url);
    return true;
}

static void nats_start(struct nats_process *n, bool jetstream)
{
    static const struct timespec pause = { 0, 10000000 };

    (void)snprintf(n->folder, sizeof(n->folder), "/tmp/guildbus-nats-XXXXXX");
    if (!mkdtemp(n->folder))
        abort();
    n->pid = fork();
    if (n->pid == 0)
        nats_exec(n, jetstream);
    while (!nats_read_ports(n)) {
        if (n->pid < 0 || waitpid(n->pid, NULL, WNOHANG) != 0)
            abort(); /* no nats-server here */
        (void)nanosleep(&pause, NULL);
    }
}

static int nats_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void nats_stop(struct nats_process *n)
{
    kill(n->pid, SIGKILL);
    waitpid(n->pid, NULL, 0);
    /* one thread is left */
    (void)nftw(n->folder, /* NOLINT(concurrency-mt-unsafe) */
               nats_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
