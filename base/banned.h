/* banned.h - functions that this tree does not use; the compiler refuses their names.
 *
 * It comes before every source file (cmake/flags.cmake). The headers that may name them are read
 * first. Instead:
 *
 *     strcpy strcat strncpy sprintf   snprintf, memcpy, xasprintf     no bound, or no NUL
 *     strtok gmtime localtime ctime   strcspn, gmtime_r               shared state
 *     atoi                            strtoll, id_parse               no errors
 *     rand                            sign_random                     guessable
 *     gets system alloca              -                               */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Some C libraries and fortification have macros of these names. */
#undef strcpy
#undef strcat
#undef strncpy
#undef sprintf
#undef vsprintf
#undef strtok
#undef alloca

#pragma GCC poison strcpy strcat strncpy sprintf vsprintf strtok atoi atol atoll gets
#pragma GCC poison gmtime localtime ctime asctime srand system alloca

/* OpenSSL's headers name parameters so. */
int rand(void) __attribute__((deprecated("predictable: use sign_random")));

#endif
