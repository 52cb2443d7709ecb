#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum rf_status rf_fail(struct rf_error *err, enum rf_status status, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

enum rf_status rf_fail_within(struct rf_error *err, enum rf_status status, const char *format, ...)
{
    if (!err)
        return status;
    char inner[sizeof err->message];
    memcpy(inner, err->message, sizeof inner);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof err->message) {
        size_t used = (size_t)length;
        snprintf(err->message + used, sizeof err->message - used, ": ");
        if (used + 2 < sizeof err->message) {
            size_t room = sizeof err->message - used - 3;
            size_t take = strlen(inner) < room ? strlen(inner) : room;
            memcpy(err->message + used + 2, inner, take);
            err->message[used + 2 + take] = '\0';
        }
    }
    return status;
}

const char *rf_status_name(enum rf_status status)
{
    switch (status) {
    case RF_OK:
        return "ok";
    case RF_ERROR_ARGUMENT:
        return "invalid argument";
    case RF_ERROR_IO:
        return "input/output error";
    case RF_ERROR_FORMAT:
        return "malformed file";
    case RF_ERROR_UNSUPPORTED:
        return "unsupported";
    case RF_ERROR_HOST_MEMORY:
        return "out of host memory";
    case RF_ERROR_DEVICE_MEMORY:
        return "out of device memory";
    case RF_ERROR_NO_DEVICE:
        return "no usable device";
    case RF_ERROR_DEVICE_LOST:
        return "device lost";
    case RF_ERROR_CONTEXT_FULL:
        return "context length exceeded";
    case RF_ERROR_CANCELLED:
        return "cancelled";
    case RF_ERROR_INTERNAL:
        return "internal error";
    }
    return "unknown status";
}
