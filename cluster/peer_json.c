/* SPDX-License-Identifier: Apache-2.0
 * The wire format of peer calls. */
#include "cluster/peer_json.h"

#include "common/error.h"

#include <string.h>

void peer_message_clear(PeerMessage *message)
{
    g_clear_pointer(&message->verb, g_free);
    g_clear_pointer(&message->args, json_decref);
    g_clear_pointer(&message->result, json_decref);
    g_clear_error(&message->error);
}

static json_t *json_or(json_t *value, json_t *otherwise)
{
    if (value) {
        json_decref(otherwise);
        return json_incref(value);
    }
    return otherwise;
}

/* A string from any bytes: text of foreign programs may not be UTF-8, and jansson refuses such a string. */
static json_t *json_text(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}

static json_t *error_encode(const GError *error)
{
    json_t *object = json_object();
    json_object_set_new(object, "code", json_string(holdfast_error_name(holdfast_error_code(error))));
    json_object_set_new(object, "message", json_text(error->message));
    return object;
}

GBytes *peer_message_encode(const PeerMessage *message, GError **error)
{
    g_autoptr(json_t) object = json_object();
    json_object_set_new(object, "v", json_integer(1));
    json_object_set_new(object, "t", json_string(message->is_call ? "call" : "reply"));
    json_object_set_new(object, "from", json_integer(message->from));
    json_object_set_new(object, "to", json_integer(message->to));
    json_object_set_new(object, "seq", json_integer(message->seq));
    if (message->is_call) {
        json_object_set_new(object, "verb", json_text(message->verb));
        json_object_set_new(object, "args", json_or(message->args, json_object()));
    } else {
        json_object_set_new(object, "ok", json_boolean(message->error == NULL));
        if (message->error) {
            json_object_set_new(object, "error", error_encode(message->error));
        } else {
            json_object_set_new(object, "result", json_or(message->result, json_null()));
        }
    }
    char *text = json_text_from(object);
    gsize length = strlen(text);
    if (length > PEER_MESSAGE_MAX_BYTES) {
        g_free(text);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "%s to node %u: %" G_GSIZE_FORMAT " bytes, at most %u fit into one message; ask for less at once",
                    message->is_call ? message->verb : "answer", message->to, length, PEER_MESSAGE_MAX_BYTES);
        return NULL;
    }
    return g_bytes_new_take(text, length);
}

typedef struct {
    gint64 version;
    int type;
    gint64 from, to, seq;
} Envelope;

static const char *const envelope_types[] = {"call", "reply", NULL};
static const JsonField envelope_fields[] = {
    {.name = "v", .kind = JSON_FIELD_INT, .offset = G_STRUCT_OFFSET(Envelope, version), .required = TRUE},
    {.name = "t",
     .kind = JSON_FIELD_ENUM,
     .offset = G_STRUCT_OFFSET(Envelope, type),
     .required = TRUE,
     .names = envelope_types},
    {.name = "from",
     .kind = JSON_FIELD_INT,
     .offset = G_STRUCT_OFFSET(Envelope, from),
     .required = TRUE,
     .min = 1,
     .max = G_MAXUINT32},
    {.name = "to",
     .kind = JSON_FIELD_INT,
     .offset = G_STRUCT_OFFSET(Envelope, to),
     .required = TRUE,
     .min = 1,
     .max = G_MAXUINT32},
    {.name = "seq",
     .kind = JSON_FIELD_INT,
     .offset = G_STRUCT_OFFSET(Envelope, seq),
     .required = TRUE,
     .min = 1,
     .max = G_MAXINT64},
    {0},
};
static const JsonStruct envelope_type = {.size = sizeof(Envelope), .fields = envelope_fields};

static gboolean wrong(GError **error, const char *field, const char *wanted)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "peer message: %s: must be %s", field, wanted);
    return FALSE;
}

/* Take `key` out of the object; NULL when it is not there. */
static json_t *object_take(json_t *object, const char *key)
{
    json_t *value = json_incref(json_object_get(object, key));
    json_object_del(object, key);
    return value;
}

static gboolean decode_call(json_t *verb, json_t *args, PeerMessage *out, GError **error)
{
    if (!json_is_string(verb) || !*json_string_value(verb)) {
        return wrong(error, "verb", "a word");
    }
    if (!json_is_object(args)) {
        return wrong(error, "args", "an object");
    }
    out->verb = g_strdup(json_string_value(verb));
    out->args = json_incref(args);
    return TRUE;
}

static gboolean decode_reply(json_t *ok, json_t *result, json_t *failure, PeerMessage *out, GError **error)
{
    if (!json_is_boolean(ok)) {
        return wrong(error, "ok", "true or false");
    }
    if (json_is_true(ok)) {
        if (!result || failure) {
            return wrong(error, "result", "there, and error absent, when ok is true");
        }
        out->result = json_incref(result);
        return TRUE;
    }
    const char *code = json_string_value(json_object_get(failure, "code"));
    const char *message = json_string_value(json_object_get(failure, "message"));
    if (!code || !message || result) {
        return wrong(error, "error", "an object with code and message, and result absent, when ok is false");
    }
    out->error = g_error_new_literal(HOLDFAST_ERROR, holdfast_error_from_name(code), message);
    return TRUE;
}

gboolean peer_message_decode(const char *data, gsize length, PeerMessage *out, GError **error)
{
    if (length > PEER_MESSAGE_MAX_BYTES) {
        return wrong(error, "size", "at most 64 KiB");
    }
    g_autoptr(json_t) object = json_text_parse(data, (gssize) length, "peer message", error);
    if (!object) {
        return FALSE;
    }
    if (!json_is_object(object)) {
        return wrong(error, "document", "an object");
    }
    /* The body first, so that what is left is the envelope and its decoder refuses every unknown key. */
    gboolean is_call = g_strcmp0(json_string_value(json_object_get(object, "t")), "call") == 0;
    g_autoptr(json_t) first = object_take(object, is_call ? "verb" : "ok");
    g_autoptr(json_t) second = object_take(object, is_call ? "args" : "result");
    g_autoptr(json_t) third = is_call ? NULL : object_take(object, "error");
    Envelope envelope = {0};
    if (!json_struct_decode(object, &envelope_type, "peer message", &envelope, error)) {
        return FALSE;
    }
    if (envelope.version != 1) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                    "peer message: version %" G_GINT64_FORMAT " is not known here; upgrade this node",
                    envelope.version);
        return FALSE;
    }
    out->is_call = is_call;
    out->from = (guint32) envelope.from;
    out->to = (guint32) envelope.to;
    out->seq = envelope.seq;
    return is_call ? decode_call(first, second, out, error) : decode_reply(first, second, third, out, error);
}
