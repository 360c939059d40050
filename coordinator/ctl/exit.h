/* exit.h - what guildbusctl's exit code says. */
#ifndef COORDINATOR_CTL_EXIT_H
#define COORDINATOR_CTL_EXIT_H

enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_DENIED = 4,
    CTL_UNAVAILABLE = 5,
};

#endif
