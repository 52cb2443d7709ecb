/* Terms as LaTeX writes them, made comparable: what changes the look and not the meaning is taken away. */
#include "apps/refusion/eval/check.h"
#include "apps/refusion/eval/number.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* From behind an opening brace to before its closing one. */
static const char *closing(const char *c)
{
    unsigned depth = 1;
    for (; *c; c++) {
        if (*c == '\\' && c[1])
            c++;
        else if (*c == '{')
            depth++;
        else if (*c == '}' && --depth == 0)
            return c;
    }
    return NULL;
}

char *boxed_content(const char *text)
{
    static const char *const words[] = {"\\boxed", "\\fbox"};
    const char *last = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        for (const char *c = strstr(text, words[i]); c; c = strstr(c + 1, words[i])) {
            const char *brace = c + strlen(words[i]);
            while (*brace == ' ')
                brace++;
            if (*brace == '{' && closing(brace + 1) && (!last || brace > last))
                last = brace;
        }
    }
    return last ? strndup(last + 1, (size_t)(closing(last + 1) - last - 1)) : NULL;
}

struct rule {
    const char *from, *to;
};

/* A word's rule does not apply to a longer word. */
static const struct rule rules[] = {
    {"\\left", ""},
    {"\\right", ""},
    {"\\dfrac", "\\frac"},
    {"\\tfrac", "\\frac"},
    {"\\cfrac", "\\frac"},
    {"\\!", ""},
    {"\\,", ""},
    {"\\;", ""},
    {"\\:", ""},
    {"\\ ", ""},
    {"\\quad", ""},
    {"\\qquad", ""},
    {"\\$", ""},
    {"$", ""},
    {"\\%", ""},
    {"%", ""},
    {"\\text", ""},
    {"\\textbf", ""},
    {"\\mathrm", ""},
    {"\\mbox", ""},
    {"\\textrm", ""},
    {"\\mathbf", ""},
    {"^\\circ", ""},
    {"^{\\circ}", ""},
    {"\\degree", ""},
    {"\\displaystyle", ""},
    {" ", ""},
    {"\n", ""},
    {"\t", ""},
    {"~", ""},
};

static const struct rule *rule_at(const char *c)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        size_t length = strlen(rules[i].from);
        bool word = isalpha((unsigned char)rules[i].from[length - 1]);
        if (strncmp(c, rules[i].from, length) == 0 && !(word && isalpha((unsigned char)c[length])))
            return &rules[i];
    }
    return NULL;
}

/* {x} is x where braces group one character or the whole: \frac{1}{2} and \frac12 are the same. */
static void drop_single_braces(char *text)
{
    char *to = text;
    for (const char *c = text; *c;) {
        if (c[0] == '{' && c[1] && c[1] != '{' && c[1] != '}' && c[1] != '\\' && c[2] == '}') {
            *to++ = c[1];
            c += 3;
        } else {
            *to++ = *c++;
        }
    }
    *to = '\0';
    size_t length = (size_t)(to - text);
    while (length >= 2 && text[0] == '{' && closing(text + 1) == text + length - 1) {
        length -= 2;
        memmove(text, text + 1, length);
        text[length] = '\0';
    }
}

static char *plain_term(const char *term)
{
    char *text = malloc(strlen(term) + 1), *to = text;
    if (!text)
        return NULL;
    for (const char *c = term; *c;) {
        const struct rule *rule = rule_at(c);
        if (!rule) {
            *to++ = *c++;
            continue;
        }
        memcpy(to, rule->to, strlen(rule->to)); /* never longer than what it stands for */
        to += strlen(rule->to);
        c += strlen(rule->from);
    }
    while (to > text && to[-1] == '.')
        to--;
    *to = '\0';
    drop_single_braces(text);
    return text;
}

bool same_term(const char *a, const char *b)
{
    char *one = plain_term(a), *other = plain_term(b);
    struct number first, second;
    bool same = one && other &&
                (strcmp(one, other) == 0 || (number_whole(&first, one) && number_whole(&second, other) &&
                                             number_equal(&first, &second)));
    free(one);
    free(other);
    return same;
}
