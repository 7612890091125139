// An Ethernet address, in the order of the wire. Devices have one, policy makes some.
#pragma once

#include <cstdint>

namespace tandem {

struct MacAddress {
  uint8_t octets[6];
};

}  // namespace tandem
