/* The page of `profile --html`: one file with the profile inside, which asks the network for nothing. */
#ifndef RF_APPS_PROFILE_HTML_H
#define RF_APPS_PROFILE_HTML_H

#include "engine/refusion.h"

#include <stdio.h>

/* apps/profile-page/dist/profile.html before and after the place of the profile; made by cmake/embed_page.c. */
extern const unsigned char rf_profile_page_head[], rf_profile_page_tail[];
extern const size_t rf_profile_page_head_size, rf_profile_page_tail_size;

/* Writes the page around `json`, the profile as one JSON object of `length` bytes. The caller, who knows the
 * file's name, opens and closes it; RF_ERROR_IO when it cannot be written. */
enum rf_status profile_html_write(FILE *file, const char *json, size_t length, struct rf_error *err);

#endif
