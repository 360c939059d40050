/* pod_settings.h - the pod's settings, from the environment.
 *
 * THREAD: before start. */
#ifndef GATEWAY_POD_SETTINGS_H
#define GATEWAY_POD_SETTINGS_H

#include "base/bus_auth.h"
#include "base/service.h"

struct gateway_settings {
    const char *pod, *guilds, *config_service_url, *nats_url, *data_dir;
    const char *token, *application_id, *api_url, *portal_url;
    int64_t capacity, drain_ms, unseal_ms, snapshot_records, events_hours;
    bool compress;
    struct bus_auth nats_auth;
    struct service_config service;
};

extern const struct config_row gateway_settings_rows[];
extern const size_t gateway_settings_count;
/* service.h, check */
bool gateway_settings_check(const void *settings, FILE *errors) MUST_CHECK;

#endif
