/* Stands beside ask.c in an application that has functions, and variables, of the names that our inner ones have: volk's,
 * and helpers'. A library that shows its inner names cannot be linked with this, or calls what is here. */
#include <stdlib.h>

#define MINE(name)                                                                                           \
    void name(void);                                                                                         \
    void name(void)                                                                                          \
    {                                                                                                        \
        abort();                                                                                             \
    }

MINE(volkInitializeCustom)
MINE(volkLoadInstanceTable)
MINE(volkLoadDeviceTable)
MINE(rf_fail)
MINE(vkGetInstanceProcAddr)
