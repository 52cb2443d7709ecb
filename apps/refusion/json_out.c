#include "apps/refusion/json_out.h"

#include <stdio.h>
#include <stdlib.h>

cJSON *json_ids(const uint32_t *items, size_t count)
{
    cJSON *array = cJSON_CreateArray();
    /* Each append is constant time: cJSON keeps the tail. */
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateNumber(items[i]));
    return array;
}

enum rf_status json_print(cJSON *value, bool indented, struct rf_error *err)
{
    char *text = indented ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
    cJSON_Delete(value);
    if (!text)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "standard output: no memory for the JSON text");
    puts(text);
    cJSON_free(text);
    return RF_OK;
}
