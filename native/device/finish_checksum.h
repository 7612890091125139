// Checksums that a sender left to its NIC, where there is no NIC: seen and finished in software.
//
// AF_XDP tells nothing of a frame but its bytes, and sends nothing but bytes. A frame from the same host (through a
// veth, say) may hold, where its TCP or UDP checksum belongs, the plain sum of the pseudo-header.
#pragma once

#include "../frame.h"

namespace tandem {

// Whether the transport checksum is exactly the pseudo-header's sum, uncomplemented. A finished checksum has that value
// by chance once in 65536; taking it for unfinished does no harm, for finishing then gives the same value again.
bool has_partial_checksum(const Frame& frame);

// Makes it a whole one. False: no TCP or UDP packet, or not all of it.
bool finish_checksum(const Frame& frame);

}  // namespace tandem
