/* SPDX-License-Identifier: Apache-2.0
 * Notes about lost copies: written, held, released, taken away; and every doubt counts as a note. */
#include "storage/lost_copy.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define BOOT "4a1fa4b5-0000-4000-8000-000000000001"
#define LATER "4a1fa4b5-0000-4000-8000-000000000002"

typedef struct {
    char *folder, *root; /* root is not made: the first note makes it */
} Fixture;

static void set_up(Fixture *f, gconstpointer unused)
{
    (void) unused;
    f->folder = g_dir_make_tmp("holdfast-XXXXXX", NULL);
    f->root = g_build_filename(f->folder, "lost-copy", NULL);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", f->folder);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
    g_free(f->root);
    g_free(f->folder);
}

static LostCopy look(const Fixture *f, const char *guest, const char *boot_id)
{
    LostCopy seen;
    lost_copy_look(f->root, guest, boot_id, &seen);
    return seen;
}

static void test_note(Fixture *f, gconstpointer unused)
{
    (void) unused;
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_false(seen.stands || seen.held);
    g_assert_true(lost_copy_note(f->root, "web1", 81, BOOT));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && seen.held);
    g_assert_cmpint(seen.minor, ==, 81);
    g_assert_cmpint(seen.n_names, ==, 1);
    /* content is for people */
    g_autofree char *path = g_build_filename(f->root, "web1", seen.names[0], NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(strstr(text, "minor 81") && strstr(text, BOOT) && strstr(text, "web1"));
    /* another guest, even one whose name begins the same, has none */
    g_assert_false(look(f, "web", BOOT).stands);
    g_assert_false(look(f, "web11", BOOT).stands);
}

/* The note outlives the reboot; what the reboot lifts is only the ban on attaching. */
static void test_reboot(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    LostCopy seen = look(f, "web1", LATER);
    g_assert_true(seen.stands && !seen.held);
    g_assert_true(lost_copy_note(f->root, "web1", 81, LATER));
    seen = look(f, "web1", LATER);
    g_assert_true(seen.stands && seen.held);
    g_assert_cmpint(seen.minor, ==, 81);
    g_assert_cmpint(seen.n_names, ==, 2);
}

static void test_release(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    LostCopy first = look(f, "web1", BOOT);
    g_assert_true(lost_copy_note(f->root, "web1", 81, BOOT)); /* it failed again after the operator's look */
    g_assert_true(lost_copy_release(f->root, "web1", &first));
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && seen.held && !seen.released);
    g_assert_cmpint(seen.minor, ==, 81);
    g_assert_true(lost_copy_release(f->root, "web1", &seen));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && !seen.held && seen.released);
    g_assert_cmpint(seen.n_names, ==, 2);
    g_assert_true(lost_copy_release(f->root, "web1", &seen)); /* twice is harmless */
    g_assert_cmpint(look(f, "web1", BOOT).n_names, ==, 2);
}

static long long now_s(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

/* A full pool is blamed for what failed since it had room, nothing older; the ban outlives a reboot, ends with room,
 * and is no operator's word. */
static void test_full_pool(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_true(lost_copy_blame_full(f->root, "web1", &seen, BOOT, now_s() + 60));
    g_assert_false(look(f, "web1", BOOT).full); /* it failed before the pool was full */
    g_assert_true(lost_copy_blame_full(f->root, "web1", &seen, BOOT, now_s() - 60));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && seen.held && seen.full && !seen.released);
    g_assert_cmpint(seen.minor, ==, 80);
    seen = look(f, "web1", LATER);
    g_assert_true(seen.held && seen.full);
    g_assert_true(lost_copy_room_again(f->root, "web1", &seen));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && !seen.held && !seen.full && !seen.released);
    g_assert_cmpint(seen.minor, ==, 80);
    g_assert_cmpint(seen.n_names, ==, 1);
}

/* Room does not lift the ban of a disk that failed, also when both are there; an operator's word lifts both. */
static void test_full_pool_and_failed_disk(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_true(lost_copy_blame_full(f->root, "web1", &seen, BOOT, now_s() - 60));
    g_assert_true(lost_copy_note(f->root, "web1", 81, BOOT));
    seen = look(f, "web1", BOOT);
    g_assert_cmpint(seen.n_names, ==, 2);
    g_assert_true(lost_copy_room_again(f->root, "web1", &seen));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.held && !seen.full);
    g_assert_cmpint(seen.minor, ==, 81);
    g_assert_true(lost_copy_blame_full(f->root, "web1", &seen, BOOT, now_s() - 60));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.full && lost_copy_release(f->root, "web1", &seen));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && !seen.held && !seen.full && seen.released);
}

static void test_remove(Fixture *f, gconstpointer unused)
{
    (void) unused;
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    LostCopy judged = look(f, "web1", BOOT);
    g_assert_true(lost_copy_note(f->root, "web1", 80, BOOT));
    g_assert_true(lost_copy_remove(f->root, "web1", &judged));
    LostCopy left = look(f, "web1", BOOT);
    g_assert_true(left.stands && left.held); /* the one that came meanwhile stays */
    g_assert_cmpint(left.n_names, ==, 1);
    g_assert_true(lost_copy_remove(f->root, "web1", &left));
    g_assert_false(look(f, "web1", BOOT).stands);
    g_assert_true(lost_copy_remove(f->root, "web1", &left));
}

static void test_many(Fixture *f, gconstpointer unused)
{
    (void) unused;
    for (int i = 0; i < LOST_COPY_NAMES_MAX + 3; i++) {
        g_assert_true(lost_copy_note(f->root, "web1", 80, i < 2 ? BOOT : LATER));
    }
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_cmpint(seen.n_names, ==, LOST_COPY_NAMES_MAX);
    g_assert_true(seen.held); /* also when its name did not fit the list */
    g_assert_true(lost_copy_remove(f->root, "web1", &seen));
    seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands);
    g_assert_cmpint(seen.n_names, ==, 3);
}

static void test_doubt(Fixture *f, gconstpointer unused)
{
    (void) unused;
    /* something that is no folder in its place */
    g_assert_cmpint(g_mkdir(f->root, 0755), ==, 0);
    g_autofree char *file = g_build_filename(f->root, "web1", NULL);
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    LostCopy seen = look(f, "web1", BOOT);
    g_assert_true(seen.stands && seen.held);
    g_assert_false(lost_copy_note(f->root, "web1", 80, BOOT));
    /* names that would lead elsewhere */
    g_assert_false(lost_copy_note(f->root, "../web1", 80, BOOT));
    g_assert_false(lost_copy_note(f->root, "", 80, BOOT));
    g_assert_false(lost_copy_note(f->root, "web2", 80, "../x"));
    /* a writer that died half way wrote nothing; a file of unknown name counts */
    g_autofree char *folder = g_build_filename(f->root, "web2", NULL);
    g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
    g_autofree char *half = g_build_filename(folder, ".half", NULL);
    g_assert_true(g_file_set_contents(half, "", 0, NULL));
    g_assert_false(look(f, "web2", BOOT).stands);
    g_autofree char *odd = g_build_filename(folder, "odd", NULL);
    g_assert_true(g_file_set_contents(odd, "", 0, NULL));
    seen = look(f, "web2", BOOT);
    g_assert_true(seen.stands && !seen.held);
    g_assert_cmpint(seen.minor, ==, -1);
}

/* Every combination of what is known, against the rules said once more the other way round. */
static void test_decide(Fixture *f, gconstpointer unused)
{
    (void) f, (void) unused;
    static const LostCopyFacts good = {
        .has_peer = true, .copies_equal = true, .record_known = true, .peer_named = true};
    LostCopy none = {.minor = -1};
    g_assert_cmpint(lost_copy_decide(&none, &good), ==, LOST_COPY_ATTACH);
    int steps[3] = {0};
    for (int bits = 0; bits < 128; bits++) {
        LostCopy lost = {.stands = true, .held = bits & 1, .released = (bits & 3) == 2};
        LostCopyFacts facts = {.has_peer = bits & 4,
                               .copies_equal = (bits & 12) == 12,
                               .record_known = bits & 16,
                               .named = (bits & 48) == 48,
                               .peer_named = (bits & 80) == 80};
        LostCopyStep step = lost_copy_decide(&lost, &facts);
        steps[step]++;
        if (lost.held) { /* not in this boot, whatever else is known */
            g_assert_cmpint(step, ==, LOST_COPY_WAIT);
        } else if (step == LOST_COPY_REMOVE) {
            g_assert_true(!facts.has_peer || facts.copies_equal ||
                          (lost.released && facts.record_known && facts.named && !facts.peer_named));
        } else if (step == LOST_COPY_ATTACH) {
            g_assert_true(facts.record_known && !facts.named);
        } else {
            g_assert_true(facts.has_peer && !facts.copies_equal &&
                          (!facts.record_known || (facts.named && (facts.peer_named || !lost.released))));
        }
    }
    g_assert_true(steps[LOST_COPY_WAIT] && steps[LOST_COPY_ATTACH] && steps[LOST_COPY_REMOVE]);
}

#define ADD(name, function) g_test_add("/lost-copy/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("note", test_note);
    ADD("reboot", test_reboot);
    ADD("release", test_release);
    ADD("full-pool", test_full_pool);
    ADD("full-pool-and-failed-disk", test_full_pool_and_failed_disk);
    ADD("remove", test_remove);
    ADD("many", test_many);
    ADD("doubt", test_doubt);
    ADD("decide", test_decide);
    return g_test_run();
}
