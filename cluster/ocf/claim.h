/* SPDX-License-Identifier: Apache-2.0
 * The start claim: gather what is proven about the previous owner and write it into the in-sync record. */
#pragma once

#include "cluster/ocf/agent.h"

/* Claim the guest for this node. REFUSED with the reason when this copy is not in sync or the previous owner may still
 * run; UNAVAILABLE without quorum or store. On success nothing but a newer claim, a mark or a stop changes the record.
 */
gboolean claim_start(OcfAgent *agent, GError **error);
/* Whether it is (still) ours: read after the promotion, before the VMM. REFUSED when not. */
gboolean claim_stands(OcfAgent *agent, GError **error);
/* Best effort: the owner (we) stopped cleanly. Errors are for the log only; DRBD's own state can prove the stop later.
 */
gboolean claim_release(OcfAgent *agent, GError **error);
