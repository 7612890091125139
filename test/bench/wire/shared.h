// What the wire benchmark and its BPF programs share: one struct, mapped into both.
#pragma once

#include <linux/types.h>

#define WIRE_CPUS 64
#define WIRE_HEADERS 42  // Ethernet, IPv4, UDP

struct wire_cpu {
  __u64 generated;
  __u64 received;
  __u64 unused[6];
};

struct wire_shared {
  __u8 headers[64];         // of a frame whose source address and port are zero, checksums too
  __u32 network_sum;        // of its IPv4 header, uncomplemented
  __u32 transport_sum;      // of its pseudo-header, UDP header and payload
  __u32 connection_mask;    // connections less one; a power of two of them
  __u32 generator_ifindex;  // frames leave here
  __u32 redirect_ifindex;   // and here, by `redirect`
  __u32 redirect_address;   // in network byte order
  __u8 redirect_macs[12];   // destination, source
  __u32 stopping;
  struct wire_cpu cpus[WIRE_CPUS];
};
