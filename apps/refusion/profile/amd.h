/* AMD chips without AMD hardware: Mesa's driver RADV compiles for the chip that RADV_FORCE_FAMILY names, on a
 * device that executes nothing. */
#ifndef RF_APPS_PROFILE_AMD_H
#define RF_APPS_PROFILE_AMD_H

#include "engine/status.h"

/* Sets this process's environment so that the Vulkan loader, which was not opened yet, offers that device. */
enum rf_status amd_prepare(const char *chip, struct rf_error *err);

#endif
