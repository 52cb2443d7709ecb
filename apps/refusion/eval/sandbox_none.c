/* Where there is no sandbox. */
#include "apps/refusion/eval/sandbox.h"

enum rf_status sandbox_open(struct sandbox **out, struct rf_error *err)
{
    *out = NULL;
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "python-tests: this program has no sandbox");
}
void sandbox_close(struct sandbox *sandbox)
{
    (void)sandbox;
}
const char *sandbox_end_name(enum sandbox_end end)
{
    (void)end;
    return "";
}
enum rf_status sandbox_run(const struct sandbox *sandbox, const struct sandbox_desc *desc,
                           struct sandbox_result *result, struct rf_error *err)
{
    (void)sandbox, (void)desc, (void)result;
    return rf_fail(err, RF_ERROR_UNSUPPORTED, "python-tests: this program has no sandbox");
}
void sandbox_result_clear(struct sandbox_result *result)
{
    (void)result;
}
