// ICMP and ICMPv6 errors about a connection: what they quote, and how they are translated so that whoever sent the
// quoted packet recognizes it. Path MTU discovery (RFC 1191, RFC 8201) through the balancer rests on this.
//
//   | IP: from whoever noticed, to the sender | ICMP | quote: IP header | at least 8 octets of transport | ... |
//     outer addresses are replaced                     inner addresses and ports are replaced
//
// The quote is a packet that left here, so it is the other way round: its reply is a flow of the connection table,
// and the error travels the way that reply would. Read RFC 5508 section 4, RFC 792, RFC 4443 section 3 and, for what
// an inner packet may look like, RFC 7915 section 4.3. Whether to forward is decided in forward.cc.
#pragma once

#include <cstdint>

#include "conn_table.h"
#include "frame.h"
#include "rewrite.h"
#include "wire/parse.h"

namespace tandem {

// Destination unreachable, time exceeded, parameter problem and packet too big. Neither a source quench (RFC 6633:
// must be ignored) nor a redirect, which concerns one link only.
bool is_icmp_error(const wire::Packet& packet);

// The packet that an error quotes: as much of it as the error holds.
struct Quote {
  FlowKey reply;       // the flow of what would answer the quoted packet
  uint8_t protocol;    // not ICMP; TCP and UDP have ports
  uint16_t network;    // offset of the inner IP header in the frame
  uint16_t transport;  // offset of the inner TCP or UDP header, of which 8 octets are there
  uint32_t end;        // behind the last octet of the inner packet that is there
};

enum class QuoteFault : uint8_t {
  kNone,
  kTruncated,    // no whole inner IP header and 8 octets behind it
  kBadHeader,    // the error's own checksum is wrong, or the inner header is none
  kUnspeakable,  // nothing that a connection sends: ICMP, or a fragment without ports
};

// Of an error. RFC 5508 REQ-3: an error whose checksum is wrong is not translated.
QuoteFault read_quote(const Frame& frame, const wire::Packet& packet, Quote* quote);

// The packet whose IP header lies at `network`, in a frame of which octets up to `end` are the quote's: the same, for
// what stands deeper in an error.
QuoteFault read_quoted_packet(const Frame& frame, uint8_t family, uint16_t network, uint32_t end, Quote* quote);

// What the translated error says. `outer_source` nullptr: as it is.
struct ErrorEnds {
  const uint8_t* outer_source;
  const uint8_t* outer_destination;
  Ends inner;
};

// Of an error with a TTL above 1, which is counted down. Checksums: the quoted IPv4 header's and the quoted
// transport's, if it is there, change by what changes under them, so what was wrong in the quote stays as wrong;
// the error's own is made anew.
void translate_icmp_error(Frame& frame, const wire::Packet& packet, const Quote& quote, const ErrorEnds& ends);

}  // namespace tandem
