/* The profile's JSON form: its name and version, which --compare checks. */
#ifndef RF_APPS_PROFILE_JSON_H
#define RF_APPS_PROFILE_JSON_H

#include "apps/refusion/engine_open.h"
#include "apps/refusion/profile/report.h"

#define PROFILE_JSON_FORMAT "refusion-profile"
enum { PROFILE_JSON_VERSION = 1 };

#endif
