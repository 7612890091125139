// The policy in force. Never nullptr once swap() was called.
#pragma once

#include "hazard_slot.h"
#include "policy.h"

namespace tandem {

using PolicySlot = HazardSlot<const Policy>;

}  // namespace tandem
