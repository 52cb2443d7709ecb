/* Preloaded in sanitizer builds: drivers stay loaded to the end, so that a leak report names the driver's module
 * instead of an unknown one, and tests/drivers/lsan.supp can tell it from ours. */
__attribute__((visibility("default"))) int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
