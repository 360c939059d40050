/* snowflake.h - when an id of Discord's was made: ms since the first second of 2015 stand above the
 * lower 22 bits.
 *
 * THREAD: any. */
#ifndef MESSAGES_SNOWFLAKE_H
#define MESSAGES_SNOWFLAKE_H

#include <stdint.h>

#define SNOWFLAKE_EPOCH_MS INT64_C(1420070400000)

/* ms since 1970. */
static inline int64_t snowflake_ms(uint64_t id)
{
    return (int64_t)(id >> 22) + SNOWFLAKE_EPOCH_MS;
}

/* The first id of that ms; 0: none was made then. */
static inline uint64_t snowflake_from_ms(int64_t ms)
{
    return ms > SNOWFLAKE_EPOCH_MS ? (uint64_t)(ms - SNOWFLAKE_EPOCH_MS) << 22 : 0;
}

#endif
