/* SPDX-License-Identifier: Apache-2.0
 * Codecs, rules and derived numbers of the store's objects. */
#include "cluster/objects.h"
#include "common/error.h"

#include <string.h>

#define GOLDEN_SPEC                                                                                                    \
    "{\"description\":\"shop\",\"desired_state\":\"stopped\",\"engine\":\"qemu\",\"memory_mib\":512,\"nics\":[{"       \
    "\"mac\":"                                                                                                         \
    "\"52:54:48:00:07:00\",\"network\":\"lan\"}],\"priority\":7,\"replicas\":1,\"vcpus\":2,\"volumes\":[{\"image\":"   \
    "\"debian\","                                                                                                      \
    "\"size_mib\":4096},{\"size_mib\":4}]}"

static const struct {
    const JsonStruct *type;
    const char *text;
} golden[] = {
    {&guest_spec_type, GOLDEN_SPEC},
    {&guest_spec_type,
     "{\"desired_state\":\"stopped\",\"engine\":\"qemu\",\"keep_apart\":[\"db2\",\"db3\"],\"keep_apart_strict\":true,"
     "\"keep_together\":[\"cache\"],\"memory_mib\":512,\"nics\":[],\"priority\":7,\"replicas\":1,\"restart_limit\":100,"
     "\"restart_window_s\":86400,\"start_after\":[\"dns\"],\"vcpus\":2,\"volumes\":[]}"},
    {&guest_type,
     "{\"created_at\":\"2026-01-02T03:04:05.000Z\",\"deleting\":true,\"drbd_secret\":\"00ff\",\"name\":\"web1\","
     "\"nodes\":[\"n1\",\"n2\"],\"preferred_node\":\"n2\",\"slot\":7,\"spec\":" GOLDEN_SPEC
     ",\"uuid\":\"u\",\"version\":1}"},
    {&volume_type,
     "{\"guest\":\"web1\",\"image\":\"debian\",\"index\":15,\"size_bytes\":9223372036854775807,\"version\":1}"},
    {&node_type,
     "{\"id\":3,\"leaving\":true,\"name\":\"n3\",\"ring0\":\"10.0.0.3\",\"ring1\":\"10.0.1.3\",\"version\":1,"
     "\"voter\":true}"},
    {&image_type,
     "{\"created_at\":\"t\",\"name\":\"debian\",\"nodes\":[\"n1\"],\"sha256\":\"ab\",\"size_bytes\":5,\"version\":1}"},
    {&node_boot_type, "{\"boot_id\":\"b\",\"left\":true,\"version\":1}"},
    {&network_type, "{\"interface\":\"lan0\",\"name\":\"lan\",\"version\":1,\"vlan\":4094}"},
    {&fence_device_type,
     "{\"agent\":\"fence_ipmilan\",\"detail\":\"ok\",\"node\":\"n1\",\"parameters\":[\"ip=1\",\"a=b=c\"],"
     "\"proven_at\":\"t\",\"proven_ms\":1500,\"state\":\"proven\",\"version\":1}"},
    {&operation_type, "{\"argument\":\"n2\",\"cancel_requested\":true,\"created_at\":\"t\",\"done\":1,\"downtime_ms\":"
                      "300,\"duration_ms\":4000,"
                      "\"ended_at\":\"u\",\"error\":\"no\",\"error_code\":\"refused\",\"id\":\"i\",\"kind\":\"guest."
                      "migrate\",\"node\":\"n1\","
                      "\"stage\":\"copying\",\"state\":\"cancelled\",\"target\":\"guest/"
                      "web1\",\"total\":2,\"unit\":\"bytes\",\"version\":1}"},
    {&guest_status_type,
     "{\"boot_id\":\"b\",\"condition\":\"\",\"gone\":true,\"guest\":\"web1\",\"node\":\"n1\","
     "\"ready\":true,\"version\":1,\"vmm\":"
     "\"running\",\"volumes\":[{\"backing_bytes\":68,\"connection\":\"Connected\",\"disk\":\"UpToDate\",\"gate\":"
     "\"open\",\"guest_bytes\":63,\"index\":0,\"out_of_sync_kib\":7,\"peer_disk\":"
     "\"Inconsistent\",\"resync_left_s\":20,\"resync_permille\":1000,\"role\":\"Primary\",\"size_bytes\":64,"
     "\"suspended\":true}]}"},
    {&node_status_type, "{\"boot_id\":\"b\",\"condition\":\"\",\"cpus\":2,\"disk_condition\":\"hangs\",\"kvm\":true,"
                        "\"memory_free_mib\":100,"
                        "\"memory_mib\":2048,\"node\":\"n1\","
                        "\"pool_condition\":\"85 %\",\"pool_level\":\"warning\",\"pool_metadata_permille\":20,"
                        "\"pool_reserve_mib\":160,\"pool_size_mib\":9000,\"pool_used_permille\":10,\"product_"
                        "version\":\"1.0\",\"version\":1}"},
};

static void test_golden(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(golden); i++) {
        g_autoptr(GError) error = NULL;
        gpointer object = object_from_text(golden[i].type, golden[i].text, "object", &error);
        g_assert_no_error(error);
        g_autofree char *text = object_to_text(golden[i].type, object);
        g_assert_cmpstr(text, ==, golden[i].text);
        object_free(golden[i].type, object);
    }
}

static void test_new_and_free(void)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    g_assert_cmpint(guest->version, ==, 1);
    g_assert_cmpuint(guest->spec.volumes->len, ==, 0);
    g_autoptr(GuestStatus) status = object_new(&guest_status_type);
    status->node = g_strdup("n1");
    status->guest = g_strdup("g");
    VolumeStatus *volume = g_new0(VolumeStatus, 1);
    volume->role = g_strdup("Primary");
    g_ptr_array_add(status->volumes, volume);
    g_autofree char *text = object_to_text(&guest_status_type, status);
    g_assert_nonnull(strstr(text, "\"role\":\"Primary\""));
    /* Every free function takes NULL. */
    guest_free(NULL);
    volume_free(NULL);
    node_free(NULL);
    image_free(NULL);
    network_free(NULL);
    fence_device_free(NULL);
    operation_free(NULL);
    guest_status_free(NULL);
    node_status_free(NULL);
}

static void test_bad_documents(void)
{
    static const struct {
        const JsonStruct *type;
        const char *text;
        int code;
        const char *message;
    } cases[] = {
        {&node_type, "{", HOLDFAST_ERROR_INVALID, "node/n1: not valid JSON"},
        {&node_type, "{\"version\":2,\"future\":true}", HOLDFAST_ERROR_UNSUPPORTED, "node/n1: has version 2"},
        {&node_type, "{\"version\":0,\"name\":\"n\",\"id\":1,\"ring0\":\"r\"}", HOLDFAST_ERROR_INVALID,
         "node/n1.version: "},
        {&node_type, "{\"name\":\"n\",\"id\":1,\"ring0\":\"r\"}", HOLDFAST_ERROR_INVALID,
         "node/n1.version: is missing"},
        {&node_type, "{\"version\":1,\"name\":\"n\",\"id\":0,\"ring0\":\"r\"}", HOLDFAST_ERROR_INVALID, "node/n1.id: "},
        {&node_type, "{\"version\":1,\"name\":\"n\",\"id\":1,\"ring0\":\"r\",\"x\":1}", HOLDFAST_ERROR_INVALID,
         "node/n1.x: "},
        {&volume_type, "{\"version\":1,\"guest\":\"g\",\"index\":16,\"size_bytes\":1}", HOLDFAST_ERROR_INVALID,
         "node/n1.index: "},
        {&fence_device_type, "{\"version\":1,\"node\":\"n\",\"agent\":\"a\",\"state\":\"sure\"}",
         HOLDFAST_ERROR_INVALID, "node/n1.state: must be one of unproven, proving, proven"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(object_from_text(cases[i].type, cases[i].text, "node/n1", &error));
        g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
        g_test_message("%s", error->message);
        g_assert_true(g_str_has_prefix(error->message, cases[i].message));
    }
}

static gboolean spec_from_text(const char *text, GuestSpec *spec, GError **error)
{
    g_autoptr(json_t) json = json_text_parse(text, -1, "spec", NULL);
    g_assert_nonnull(json);
    return guest_spec_from_json(json, spec, error);
}

static void test_spec_defaults(void)
{
    GuestSpec spec;
    g_autoptr(GError) error = NULL;
    g_assert_true(spec_from_text("{\"memory_mib\":256,\"volumes\":[{\"image\":\"debian\"}]}", &spec, &error));
    g_assert_no_error(error);
    g_autoptr(json_t) json = json_struct_encode(&guest_spec_type, &spec);
    g_autofree char *text = json_text_from(json);
    g_assert_cmpstr(
        text, ==,
        "{\"desired_state\":\"running\",\"engine\":\"auto\",\"memory_mib\":256,\"nics\":[],\"priority\":100,"
        "\"replicas\":2,\"vcpus\":1,\"volumes\":[{\"image\":\"debian\",\"size_mib\":0}]}");
    json_struct_clear(&guest_spec_type, &spec);
}

/* `rest` follows a good spec's memory and volumes. */
static char *spec_text(const char *volumes, const char *rest)
{
    return g_strdup_printf("{\"memory_mib\":256,\"volumes\":%s%s}", volumes, rest);
}

static void test_spec_good(void)
{
    static const struct {
        const char *volumes, *rest;
    } cases[] = {
        {"[{\"size_mib\":4}]", ""},
        {"[{\"size_mib\":67108864,\"image\":\"a\"}]", ",\"vcpus\":64,\"priority\":1000,\"replicas\":1"},
        {"[{\"size_mib\":4}]",
         ",\"priority\":0,\"nics\":[{\"network\":\"abcdefghijkl\",\"mac\":\"52:54:00:aB:CD:ef\"}]"},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\"},{\"network\":\"a\"}]"},
        {"[{\"size_mib\":4}]", ",\"restart_window_s\":60,\"restart_limit\":1"},
        {"[{\"size_mib\":4}]", ",\"restart_window_s\":0,\"restart_limit\":0,\"keep_apart_strict\":false"},
        {"[{\"size_mib\":4}]", ",\"keep_apart\":[\"a\"],\"keep_apart_strict\":true,\"keep_together\":[\"b\"]"},
        {"[{\"size_mib\":4}]",
         ",\"start_after\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"],\"keep_apart\":[\"a\"]"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        GuestSpec spec;
        g_autoptr(GError) error = NULL;
        g_autofree char *text = spec_text(cases[i].volumes, cases[i].rest);
        gboolean ok = spec_from_text(text, &spec, &error);
        g_assert_no_error(error);
        g_assert_true(ok);
        if (spec.nics->len == 1) {
            g_assert_cmpstr(((GuestNic *) spec.nics->pdata[0])->mac, ==, "52:54:00:ab:cd:ef");
        }
        json_struct_clear(&guest_spec_type, &spec);
    }
}

static void assert_spec_bad(const char *text, const char *message)
{
    GuestSpec spec;
    g_autoptr(GError) error = NULL;
    g_test_message("%s", text);
    g_assert_false(spec_from_text(text, &spec, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    if (!g_str_has_prefix(error->message, message)) {
        g_assert_cmpstr(error->message, ==, message);
    }
    g_assert_null(spec.volumes); /* nothing is left to free */
}

static void test_spec_bad(void)
{
    static const struct {
        const char *volumes, *rest, *message;
    } cases[] = {
        {"[]", "", "spec.volumes: must be 1 to 16, not 0"},
        {"{}", "", "spec.volumes: "},
        {"[{}]", "", "spec.volumes[0].size_mib: is missing"},
        {"[{\"size_mib\":0}]", "", "spec.volumes[0].size_mib: is missing"},
        {"[{\"size_mib\":4},{\"size_mib\":5}]", "", "spec.volumes[1].size_mib: must be a multiple of 4, not 5"},
        {"[{\"size_mib\":-4}]", "", "spec.volumes[0].size_mib: must be between 0 and 67108864"},
        {"[{\"size_mib\":67108868}]", "", "spec.volumes[0].size_mib: must be between 0 and 67108864"},
        {"[{\"size_mib\":4,\"image\":\"../etc\"}]", "", "spec.volumes[0].image: "},
        {"[{\"size_mib\":4,\"image\":\"\"}]", "", "spec.volumes[0].image: "},
        {"[{\"size_mib\":4,\"size\":4}]", "", "spec.volumes[0].size: unknown field"},
        {"[{\"size_mib\":4}]", ",\"vcpus\":0", "spec.vcpus: must be between 1 and 64, not 0"},
        {"[{\"size_mib\":4}]", ",\"vcpus\":65", "spec.vcpus: "},
        {"[{\"size_mib\":4}]", ",\"replicas\":0", "spec.replicas: must be between 1 and 2, not 0"},
        {"[{\"size_mib\":4}]", ",\"replicas\":3", "spec.replicas: "},
        {"[{\"size_mib\":4}]", ",\"priority\":-1", "spec.priority: "},
        {"[{\"size_mib\":4}]", ",\"priority\":1001", "spec.priority: "},
        {"[{\"size_mib\":4}]", ",\"engine\":\"xen\"", "spec.engine: must be one of auto, kvm, qemu"},
        {"[{\"size_mib\":4}]", ",\"desired_state\":\"paused\"", "spec.desired_state: must be one of stopped, running"},
        {"[{\"size_mib\":4}]", ",\"desired\":\"running\"", "spec.desired: unknown field"},
        {"[{\"size_mib\":4}]", ",\"nics\":[{}]", "spec.nics[0].network: is missing"},
        {"[{\"size_mib\":4}]", ",\"start_after\":\"a\"", "spec.start_after: must be an array of strings"},
        {"[{\"size_mib\":4}]", ",\"start_after\":[\"A\"]", "spec.start_after: 'A' must be"},
        {"[{\"size_mib\":4}]", ",\"start_after\":[\"a\",\"b\",\"a\"]", "spec.start_after: names 'a' twice"},
        {"[{\"size_mib\":4}]", ",\"start_after\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]",
         "spec.start_after: must be at most 8 guests, not 9"},
        {"[{\"size_mib\":4}]", ",\"keep_together\":[\"a\",\"b\"],\"keep_apart\":[\"b\"]",
         "spec.keep_apart: 'b' is in spec.keep_together too: leave it out of one of them"},
        {"[{\"size_mib\":4}]", ",\"keep_apart_strict\":true",
         "spec.keep_apart_strict: needs spec.keep_apart, the guests it is about"},
        {"[{\"size_mib\":4}]", ",\"restart_limit\":101", "spec.restart_limit: must be between 0 and 100, not 101"},
        {"[{\"size_mib\":4}]", ",\"restart_limit\":-1", "spec.restart_limit: must be between 0 and 100, not -1"},
        {"[{\"size_mib\":4}]", ",\"restart_window_s\":59",
         "spec.restart_window_s: must be 0 (the default, 300) or between 60 and 86400, not 59"},
        {"[{\"size_mib\":4}]", ",\"restart_window_s\":86401", "spec.restart_window_s: must be between 0 and 86400"},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"LAN\"}]", "spec.nics[0].network: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"abcdefghijklm\"}]", "spec.nics[0].network: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\"},{\"network\":\"a\",\"mac\":\"52:54:00:12:34\"}]",
         "spec.nics[1].mac: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\",\"mac\":\"52-54-00-12-34-56\"}]", "spec.nics[0].mac: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\",\"mac\":\"52:54:00:12:34:5g\"}]", "spec.nics[0].mac: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\",\"mac\":\"53:54:00:12:34:56\"}]", "spec.nics[0].mac: "},
        {"[{\"size_mib\":4}]", ",\"nics\":[{\"network\":\"a\",\"mac\":\"00:00:00:00:00:00\"}]", "spec.nics[0].mac: "},
        {"[{\"size_mib\":4}]",
         ",\"nics\":[{\"network\":\"a\",\"mac\":\"52:54:00:12:34:5a\"},{\"network\":\"b\",\"mac\":\"52:54:00:12:34:"
         "5A\"}]",
         "spec.nics[1].mac: '52:54:00:12:34:5a' is that of spec.nics[0] too"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = spec_text(cases[i].volumes, cases[i].rest);
        assert_spec_bad(text, cases[i].message);
    }
    assert_spec_bad("[]", "spec: must be a JSON object");
    assert_spec_bad("{\"memory_mib\":256}", "spec.volumes: is missing");
    assert_spec_bad("{\"volumes\":[{\"size_mib\":4}]}", "spec.memory_mib: is missing");
    assert_spec_bad("{\"memory_mib\":31,\"volumes\":[{\"size_mib\":4}]}",
                    "spec.memory_mib: must be between 32 and 1048576, not 31");
    assert_spec_bad("{\"memory_mib\":1048577,\"volumes\":[{\"size_mib\":4}]}", "spec.memory_mib: ");
}

static void test_spec_limits(void)
{
    g_autoptr(GString) volumes = g_string_new("[{\"size_mib\":4}");
    g_autoptr(GString) nics = g_string_new(",\"nics\":[{\"network\":\"a\"}");
    for (int i = 1; i < GUEST_VOLUMES_MAX; i++) {
        g_string_append(volumes, ",{\"size_mib\":4}");
    }
    for (int i = 1; i < GUEST_NICS_MAX; i++) {
        g_string_append(nics, ",{\"network\":\"a\"}");
    }
    g_autofree char *most_volumes = g_strconcat(volumes->str, "]", NULL);
    g_autofree char *most_nics = g_strconcat(nics->str, "]", NULL);
    g_autofree char *most = spec_text(most_volumes, most_nics);
    GuestSpec spec;
    g_assert_true(spec_from_text(most, &spec, NULL));
    json_struct_clear(&guest_spec_type, &spec);
    g_autofree char *more_volumes = g_strconcat(volumes->str, ",{\"size_mib\":4}]", NULL);
    g_autofree char *more_nics = g_strconcat(nics->str, ",{\"network\":\"a\"}]", NULL);
    g_autofree char *too_many_volumes = spec_text(more_volumes, "");
    assert_spec_bad(too_many_volumes, "spec.volumes: must be 1 to 16, not 17");
    g_autofree char *too_many_nics = spec_text("[{\"size_mib\":4}]", more_nics);
    assert_spec_bad(too_many_nics, "spec.nics: must be at most 8, not 9");
    g_autofree char *prose = g_strnfill(1025, 'x');
    g_autofree char *description = g_strdup_printf(",\"description\":\"%s\"", prose);
    g_autofree char *wordy = spec_text("[{\"size_mib\":4}]", description);
    assert_spec_bad(wordy, "spec.description: ");
}

static void test_network(void)
{
    static const struct {
        Network network;
        const char *message; /* NULL: good */
    } cases[] = {
        {{.name = (char *) "lan", .interface = (char *) "lan0"}, NULL},
        {{.name = (char *) "abcdefghijkl", .interface = (char *) "enp1s0f0.5-x_y", .vlan = 4094}, NULL},
        {{.name = (char *) "inside"}, NULL},
        {{.name = NULL}, "name: "},
        {{.name = (char *) "abcdefghijklm"}, "name: 'abcdefghijklm' is longer than 12 characters"},
        {{.name = (char *) "a b"}, "name: "},
        {{.name = (char *) "lan", .interface = (char *) ""}, "interface: "},
        {{.name = (char *) "lan", .interface = (char *) ".."}, "interface: "},
        {{.name = (char *) "lan", .interface = (char *) "a/b"}, "interface: "},
        {{.name = (char *) "lan", .interface = (char *) "abcdefghijklmnop"}, "interface: "},
        {{.name = (char *) "lan", .interface = (char *) "lan0", .vlan = 4095}, "vlan: "},
        {{.name = (char *) "lan", .interface = (char *) "lan0", .vlan = -1}, "vlan: "},
        {{.name = (char *) "lan", .vlan = 5}, "vlan: needs an interface"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(network_check(&cases[i].network, &error) == (cases[i].message == NULL));
        if (cases[i].message) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
            g_assert_true(g_str_has_prefix(error->message, cases[i].message));
        }
    }
}

static void test_derived(void)
{
    char *nodes[] = {(char *) "n1", (char *) "n2", NULL};
    Guest first = {.slot = 1, .nodes = nodes};
    Guest last = {.slot = GUEST_SLOT_MAX};
    g_assert_cmpint(guest_minor(&first, 0), ==, 16);
    g_assert_cmpint(guest_minor(&first, 15), ==, 31);
    g_assert_cmpint(guest_minor(&last, 15), ==, 64015);
    g_assert_cmpint(guest_drbd_port(&first), ==, 7801);
    g_assert_cmpint(guest_drbd_port(&last), ==, 11800);
    g_assert_cmpint(guest_uid(&last), ==, 204000);
    g_autofree char *tap = guest_tap_name(&last, 7);
    g_assert_cmpstr(tap, ==, "hf4000n7");
    g_autofree char *mac = guest_default_mac(4000, 7);
    g_assert_cmpstr(mac, ==, "52:54:48:0f:a0:07");
    g_autofree char *lv = guest_lv_name("web1", 0);
    g_assert_cmpstr(lv, ==, "hf-web1-0");
    g_autofree char *gate = guest_gate_name("web1", 15);
    g_assert_cmpstr(gate, ==, "hfgate-web1-15");
    g_assert_true(guest_on_node(&first, "n2"));
    g_assert_false(guest_on_node(&first, "n3"));
    g_assert_false(guest_on_node(&last, "n1"));
    g_assert_cmpstr(guest_peer_node(&first, "n1"), ==, "n2");
    g_assert_cmpstr(guest_peer_node(&first, "n2"), ==, "n1");
    char *alone[] = {(char *) "n1", NULL};
    Guest single = {.slot = 2, .nodes = alone};
    g_assert_null(guest_peer_node(&single, "n1"));
    g_assert_null(guest_peer_node(&last, "n1"));
}

/* What the API hands over: the words a user may say, and nobody says a version. */
static void test_network_from_json(void)
{
    static const struct {
        const char *json, *message; /* NULL: accepted */
    } cases[] = {
        {"{\"name\":\"v100\",\"interface\":\"lan0\",\"vlan\":100}", NULL},
        {"{\"name\":\"inner\",\"interface\":null,\"vlan\":0}", NULL},
        {"{\"name\":\"inner\"}", NULL},
        {"{\"interface\":\"lan0\"}", "name: "},
        {"{\"name\":\"v\",\"interface\":\"lan0\",\"vlan\":4095}", "vlan: "},
        {"{\"name\":\"v\",\"interface\":null,\"vlan\":5}", "vlan: needs an interface"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) json = json_loads(cases[i].json, 0, NULL);
        g_autoptr(Network) network = object_new(&network_type);
        g_assert_true(network_from_json(json, network, &error) == (cases[i].message == NULL));
        if (cases[i].message) {
            g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
            g_assert_true(g_str_has_prefix(error->message, cases[i].message));
        } else {
            g_assert_no_error(error);
            g_autofree char *text = object_to_text(&network_type, network);
            g_autoptr(Network) again = object_from_text(&network_type, text, "network", &error);
            g_assert_no_error(error);
            g_assert_cmpint(again->version, ==, 1);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/objects/golden", test_golden);
    g_test_add_func("/objects/new-and-free", test_new_and_free);
    g_test_add_func("/objects/bad-documents", test_bad_documents);
    g_test_add_func("/objects/spec-defaults", test_spec_defaults);
    g_test_add_func("/objects/spec-good", test_spec_good);
    g_test_add_func("/objects/spec-bad", test_spec_bad);
    g_test_add_func("/objects/spec-limits", test_spec_limits);
    g_test_add_func("/objects/network", test_network);
    g_test_add_func("/objects/derived", test_derived);
    g_test_add_func("/objects/network-from-json", test_network_from_json);
    return g_test_run();
}
