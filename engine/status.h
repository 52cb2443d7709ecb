/* How every room fails: a fallible function returns enum rf_status (0 = RF_OK) and takes a struct rf_error *
 * last, where it has put one line that names the thing (file, field, tensor, option, device), what was found
 * and what was wanted. */
#ifndef RF_ENGINE_STATUS_H
#define RF_ENGINE_STATUS_H

#include "engine/refusion.h"

/* Formats the message and returns `status`, so that failing is one statement. `err` may be NULL. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum rf_status
rf_fail(struct rf_error *err, enum rf_status status, const char *format, ...);

/* Puts "prefix: " before the message that an inner call left with `status`, and returns that. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
enum rf_status
rf_fail_within(struct rf_error *err, enum rf_status status, const char *format, ...);

#endif
