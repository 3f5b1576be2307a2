/* SPDX-License-Identifier: Apache-2.0
 * Relations among guests: what is refused, and what is left of them for the CIB. */
#include "cluster/relations.h"
#include "common/error.h"

#include <string.h>

/* "name priority start_after keep_apart[!] keep_together", lists joined by ',', '-' for none; "!" makes it strict. */
static Guest *guest_from(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    g_assert_cmpuint(g_strv_length(words), ==, 5);
    Guest *guest = object_new(&guest_type);
    guest->name = g_strdup(words[0]);
    guest->spec.priority = g_ascii_strtoll(words[1], NULL, 10);
    guest->spec.keep_apart_strict = g_str_has_suffix(words[3], "!");
    g_strdelimit(words[3], "!", '\0');
    char ***lists[] = {&guest->spec.start_after, &guest->spec.keep_apart, &guest->spec.keep_together};
    for (guint i = 0; i < G_N_ELEMENTS(lists); i++) {
        *lists[i] = strcmp(words[2 + i], "-") == 0 ? NULL : g_strsplit(words[2 + i], ",", -1);
    }
    return guest;
}

/* One guest a line. */
static GPtrArray *guests_from(const char *text)
{
    GPtrArray *guests = g_ptr_array_new_with_free_func((GDestroyNotify) guest_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_ptr_array_add(guests, guest_from(*line));
    }
    return guests;
}

static void test_check(void)
{
    static const char present[] = "a 1 - - -\nb 1 a - -\nc 1 b - a\nd 1 - a,gone -";
    static const struct {
        const char *guest, *before;
        int code;
        const char *text; /* NULL: allowed */
    } cases[] = {
        {"e 1 a,b,c d a", NULL, 0, NULL},
        {"c 1 a,b - b", "c 1 - - -", 0, NULL},
        {"e 1 e - -", NULL, HOLDFAST_ERROR_INVALID, "spec.start_after: names guest 'e' itself"},
        {"e 1 - a,e -", NULL, HOLDFAST_ERROR_INVALID, "spec.keep_apart: names guest 'e' itself"},
        {"e 1 - - e", NULL, HOLDFAST_ERROR_INVALID, "spec.keep_together: names guest 'e' itself"},
        {"e 1 x - -", NULL, HOLDFAST_ERROR_NOT_FOUND,
         "spec.start_after: there is no guest 'x'; 'holdfast guest list' shows what there is"},
        {"e 1 - x -", NULL, HOLDFAST_ERROR_NOT_FOUND,
         "spec.keep_apart: there is no guest 'x'; 'holdfast guest list' shows what there is"},
        {"e 1 - - x", NULL, HOLDFAST_ERROR_NOT_FOUND,
         "spec.keep_together: there is no guest 'x'; 'holdfast guest list' shows what there is"},
        {"d 7 - a,gone -", "d 1 - a,gone -", 0, NULL}, /* deleted since: no reason to refuse another change */
        {"d 7 gone a -", "d 1 - a,gone -", HOLDFAST_ERROR_NOT_FOUND,
         "spec.start_after: there is no guest 'gone'; 'holdfast guest list' shows what there is"},
        {"a 1 b - -", "a 1 - - -", HOLDFAST_ERROR_REFUSED,
         "spec.start_after: 'b' starts after 'a' already, perhaps over others; take 'a' out of that chain first with "
         "'holdfast guest set'"},
        {"a 1 d,c - -", "a 1 - - -", HOLDFAST_ERROR_REFUSED,
         "spec.start_after: 'c' starts after 'a' already, perhaps over others; take 'a' out of that chain first with "
         "'holdfast guest set'"},
        {"a 1 - c -", "a 1 - - -", HOLDFAST_ERROR_REFUSED,
         "spec.keep_apart: guest 'c' has 'a' in its keep_together; change that first with 'holdfast guest set c "
         "keep_together=...'"},
        {"a 1 - - d", "a 1 - - -", HOLDFAST_ERROR_REFUSED,
         "spec.keep_together: guest 'd' has 'a' in its keep_apart; change that first with 'holdfast guest set d "
         "keep_apart=...'"},
    };
    g_autoptr(GPtrArray) guests = guests_from(present);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].guest);
        g_autoptr(GError) error = NULL;
        g_autoptr(Guest) guest = guest_from(cases[i].guest);
        g_autoptr(Guest) before = cases[i].before ? guest_from(cases[i].before) : NULL;
        gboolean ok = relations_check(guests, guest->name, &guest->spec, before ? &before->spec : NULL, &error);
        g_assert_cmpint(ok, ==, !cases[i].text);
        if (cases[i].text) {
            g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
            g_assert_cmpstr(error->message, ==, cases[i].text);
        } else {
            g_assert_no_error(error);
        }
    }
}

static char *orders_text(const GPtrArray *guests)
{
    g_autoptr(GPtrArray) orders = relations_orders(guests);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < orders->len; i++) {
        const RelationOrder *order = orders->pdata[i];
        g_string_append_printf(text, "%s<%s ", order->first->name, order->then->name);
    }
    return g_string_free(text, FALSE);
}

static char *places_text(const GPtrArray *guests)
{
    static const char *const kinds[] = {"+", "-", "!"};
    g_autoptr(GPtrArray) places = relations_places(guests);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < places->len; i++) {
        const RelationPlace *place = places->pdata[i];
        g_string_append_printf(text, "%s%s%s ", place->guest->name, kinds[place->kind], place->with->name);
    }
    return g_string_free(text, FALSE);
}

static void test_lists(void)
{
    static const struct {
        const char *guests, *orders, *places;
    } cases[] = {
        {"a 1 - - -", "", ""},
        {"b 1 a,x,b x b\na 1 - - -", "a<b ", ""},
        {"a 1 b - -\nb 1 a - -", "b<a ", ""},                /* a circle loses its last edge */
        {"c 1 b - -\nb 1 a - -\na 1 c - -", "c<a a<b ", ""}, /* whatever the order they come in */
        {"a 1 - b -\nb 1 - - -", "", "b-a "},                /* equal priority: by name */
        {"a 1 - b -\nb 2 - - -", "", "a-b "},                /* the more important one gets its place */
        {"a 1 - b -\nb 2 - a! -", "", "a!b "},               /* the strictest word, once */
        {"a 1 - - b\nb 2 - a -", "", "a-b "},                /* apart counts more */
        /* Ten wish to be with x, and x counts eight of them; a strict word always counts. */
        {"a 2 - - x\nb 2 - - x\nc 2 - - x\nd 2 - - x\ne 2 - - x\nf 2 - - x\ng 2 - - x\nh 2 - - x\ni 2 - - x\nj 2 - x! "
         "-\nx 1 - "
         "- -",
         "", "x+a x+b x+c x+d x+e x+f x+g x+h x!j "},
        {"a 1 - b! c\nb 1 - c -\nc 9 - - -", "", "a+c b!a b-c "},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) guests = guests_from(cases[i].guests);
        g_autofree char *orders = orders_text(guests);
        g_autofree char *places = places_text(guests);
        g_assert_cmpstr(orders, ==, cases[i].orders);
        g_assert_cmpstr(places, ==, cases[i].places);
    }
}

/* Whatever is written: the orders hold no circle, and only a circle is ever left out. */
static void test_orders_never_circle(void)
{
    static const char *const letters[] = {"a", "b", "c", "d"};
    for (guint bits = 0; bits < 1u << 12; bits++) {
        g_autoptr(GPtrArray) guests = g_ptr_array_new_with_free_func((GDestroyNotify) guest_free);
        guint bit = 0, edges = 0;
        for (guint i = 0; i < 4; i++) {
            Guest *guest = object_new(&guest_type);
            guest->name = g_strdup(letters[i]);
            g_autoptr(GStrvBuilder) list = g_strv_builder_new();
            for (guint k = 0; k < 4; k++) {
                if (k != i && (bits >> bit++ & 1)) {
                    g_strv_builder_add(list, letters[k]);
                    edges++;
                }
            }
            guest->spec.start_after = g_strv_builder_end(list);
            g_ptr_array_add(guests, guest);
        }
        g_autoptr(GPtrArray) orders = relations_orders(guests);
        /* Take away whoever waits for nobody, until nobody is left: that ends only without a circle. */
        guint left = 0xf;
        for (guint round = 0; round < 4; round++) {
            for (guint i = 0; i < 4; i++) {
                gboolean waits = FALSE;
                for (guint o = 0; o < orders->len; o++) {
                    const RelationOrder *order = orders->pdata[o];
                    waits |= order->then == guests->pdata[i] && (left >> (order->first->name[0] - 'a') & 1);
                }
                left &= waits ? left : ~(1u << i);
            }
        }
        g_assert_cmpuint(left, ==, 0);
        gboolean whole = orders->len == edges;
        gboolean allowed = TRUE;
        for (guint i = 0; i < 4; i++) {
            const Guest *guest = guests->pdata[i];
            allowed &= relations_check(guests, guest->name, &guest->spec, NULL, NULL);
        }
        g_assert_cmpint(whole, ==, allowed); /* what the check lets in is projected in full */
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/relations/check", test_check);
    g_test_add_func("/relations/lists", test_lists);
    g_test_add_func("/relations/orders-never-circle", test_orders_never_circle);
    return g_test_run();
}
