/* commands.h - the application commands as Discord wants them registered.
 *
 * THREAD: any. */
#ifndef GATEWAY_COMMANDS_H
#define GATEWAY_COMMANDS_H

/* A JSON array of all rows of commands.def, for PUT /applications/{id}/commands; malloc'd. */
char *commands_payload(void);

#endif
