#include "apps/refusion/eval/number.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static const char minus_sign[] = "\xe2\x88\x92"; /* U+2212 */

/* Bytes of the sign that ends at `c`, not before `text`; 0: none. */
static size_t sign_before(const char *text, const char *c, bool *negative)
{
    size_t before = (size_t)(c - text), length = 0;
    if (before >= 1 && (c[-1] == '-' || c[-1] == '+'))
        length = 1;
    else if (before >= 3 && memcmp(c - 3, minus_sign, 3) == 0)
        length = 3;
    if (!length)
        return 0;
    *negative = c[-1] != '+';
    if (before == length)
        return length;
    char outer = c[-(long)length - 1];
    if (digit(outer) || letter(outer) || strchr(")]}", outer)) {
        *negative = false; /* it takes away */
        return 0;
    }
    return length;
}

struct digits {
    struct number *out;
    size_t count;
    bool behind_point, overflow;
    long exponent;
};

static void take(struct digits *d, char c)
{
    if (!d->behind_point && (d->count || c != '0'))
        d->exponent++;
    if (d->behind_point && !d->count && c == '0') {
        d->exponent--;
        return;
    }
    if (!d->count && c == '0')
        return;
    if (d->count < NUMBER_DIGITS)
        d->out->digits[d->count++] = c;
    else
        d->overflow = true;
}

static bool group_of_three(const char *c)
{
    return c[0] == ',' && digit(c[1]) && digit(c[2]) && digit(c[3]) && !digit(c[4]);
}

/* Whether all commas from here group by three. */
static bool grouped(const char *c)
{
    const char *start = c;
    while (digit(*c))
        c++;
    if (c - start < 1 || c - start > 3 || *c != ',')
        return false;
    while (group_of_three(c))
        c += 4;
    return c[0] != ',' || !digit(c[1]);
}

/* Reads a number that begins at `c`, which is a digit, or a point before one. Its end; NULL: too long. */
static const char *read_number(struct number *out, const char *c)
{
    struct digits d = {.out = out};
    bool commas = grouped(c);
    while (digit(*c) || (commas && group_of_three(c))) {
        if (*c != ',')
            take(&d, *c);
        c++;
    }
    if (c[0] == '.' && digit(c[1])) {
        d.behind_point = true;
        for (c++; digit(*c); c++)
            take(&d, *c);
    }
    if ((*c == 'e' || *c == 'E') && (digit(c[1]) || (strchr("+-", c[1]) && c[1] && digit(c[2])))) {
        char *end;
        long power = strtol(c + 1, &end, 10);
        if (!letter(*end) && power > -LONG_MAX / 4 && power < LONG_MAX / 4) {
            d.exponent += power;
            c = end;
        }
    }
    while (d.count && out->digits[d.count - 1] == '0')
        d.count--;
    out->digits[d.count] = '\0';
    out->exponent = d.count ? d.exponent : 0;
    return d.overflow ? NULL : c;
}

bool number_last(struct number *out, const char *text, const char **begin, size_t *length)
{
    bool found = false;
    for (const char *c = text; *c;) {
        bool point = c[0] == '.' && digit(c[1]) && (c == text || !digit(c[-1]));
        if (!digit(*c) && !point) {
            c++;
            continue;
        }
        struct number number = {0};
        size_t sign = sign_before(text, c, &number.negative);
        bool word = !sign && c > text && letter(c[-1]);
        const char *end = read_number(&number, c);
        if (!word && !end)
            return false;
        if (!word) {
            *out = number;
            out->negative = number.negative && number.digits[0];
            found = true;
            if (begin)
                *begin = c - sign;
            if (length)
                *length = (size_t)(end - c) + sign;
        }
        c = end ? end : c + 1;
        while (word && (digit(*c) || letter(*c)))
            c++;
    }
    return found;
}

bool number_equal(const struct number *a, const struct number *b)
{
    return a->negative == b->negative && a->exponent == b->exponent && strcmp(a->digits, b->digits) == 0;
}

bool number_whole(struct number *out, const char *text)
{
    const char *begin;
    size_t length;
    while (isspace((unsigned char)*text))
        text++;
    if (!number_last(out, text, &begin, &length) || begin != text)
        return false;
    const char *end = begin + length;
    while (isspace((unsigned char)*end))
        end++;
    return *end == '\0';
}
