/* Numbers in text, compared digit by digit: 0.1 is 0.10, and no number is too long. */
#ifndef RF_APPS_EVAL_NUMBER_H
#define RF_APPS_EVAL_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum { NUMBER_DIGITS = 128 };

/* 0.digits * 10^exponent, without zeros at either end; zero has no digits. */
struct number {
    bool negative;
    char digits[NUMBER_DIGITS + 1];
    long exponent;
};

/* The last number of a text: 7, -7, 1,234, 3.50, .5, 2e-3. A minus counts where no letter, digit or bracket stands
 * before it ("10-3" ends in 3), a comma where three digits follow each ("1,2" ends in 2). Digits that belong to a word
 * (x2) are no number; letters behind one are (5th, 5kg). U+2212 is a minus. False: there is none, or one of more than
 * NUMBER_DIGITS digits. `begin` and `length`, where it stands, may be NULL. */
bool number_last(struct number *out, const char *text, const char **begin, size_t *length);

/* The same number; for whole texts see number_whole. */
bool number_equal(const struct number *a, const struct number *b);

/* Whether the text, but for white space round it, is one number. */
bool number_whole(struct number *out, const char *text);

#endif
