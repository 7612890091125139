// The fragments of a packet: which octets of which packet a frame holds, and, of the first, its transport.
// Looks at nothing but the frame. Read RFC 791 section 3.2, RFC 8200 section 4.5 and RFC 1858.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parse.h"

namespace tandem::wire {

struct Fragment {
  uint32_t identification;  // as it lies in the header; IPv4: 16 bits
  uint8_t protocol;         // of IPv6: of what follows the fragment header in the first fragment
  bool more;                // not the last
  uint32_t begin, end;      // octets of the packet's payload, counted from its first
  uint16_t payload;         // offset of these octets in the frame
};

enum class FragmentFault : uint8_t {
  kNone,
  kTruncated,
  kBadHeader,         // a length that no fragment has, or a payload beyond 65535 octets
  kExtensionHeaders,  // too many of them, or one that hides the payload
  kTiny,              // RFC 1858: would hide or overwrite the first fragment's transport header
};

// After parse_network() has said Fault::kFragment.
FragmentFault parse_fragment(const uint8_t* frame, const Packet& packet, Fragment* fragment);

// Of the first fragment: `packet` becomes as if it were whole. A protocol other than TCP and UDP gives kOther.
// RFC 7112: "the first fragment must include the entire IPv6 header chain"; kTiny if it does not.
FragmentFault parse_first_fragment(const uint8_t* frame, const Fragment& fragment, Packet* packet);

}  // namespace tandem::wire
