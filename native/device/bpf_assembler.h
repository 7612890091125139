// BPF instructions from readable calls, with labels in place of offsets. Knows the instruction set, no program.
//
// Read Documentation/bpf/standardization/instruction-set.rst first (RFC 9669). Ten registers: r0 is a call's result
// and the program's, r1..r5 are a call's arguments and lost by it, r6..r9 survive calls, r10 is the stack's end.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem {

class BpfAssembler {
 public:
  enum Register : uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 };
  enum Size : uint8_t { kByte = BPF_B, kHalf = BPF_H, kWord = BPF_W, kDouble = BPF_DW };
  enum Condition : uint8_t { kEqual = BPF_JEQ, kNotEqual = BPF_JNE, kGreater = BPF_JGT };

  // A place in the program. Jumps may name it before it is placed; every label that is named must be placed, once.
  using Label = size_t;
  Label label() {
    places_.push_back(kNowhere);
    return places_.size() - 1;
  }
  void place(Label label) { places_[label] = program_.size(); }

  void move(Register to, Register from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void move(Register to, int32_t value) { add(BPF_ALU64 | BPF_MOV | BPF_K, to, r0, 0, value); }
  // NOLINTNEXTLINE(misc-redundant-expression): zeros that say what they are
  void plus(Register to, int32_t value) { add(BPF_ALU64 | BPF_ADD | BPF_K, to, r0, 0, value); }
  void plus(Register to, Register with) { add(BPF_ALU64 | BPF_ADD | BPF_X, to, with, 0, 0); }
  void mask(Register to, int32_t value) { add(BPF_ALU64 | BPF_AND | BPF_K, to, r0, 0, value); }
  void shift_left(Register to, int32_t bits) { add(BPF_ALU64 | BPF_LSH | BPF_K, to, r0, 0, bits); }

  // Octets keep the order in which they lie in memory: compare with in_memory_order().
  void load(Size size, Register to, Register base, int16_t offset) {
    add(BPF_LDX | size | BPF_MEM, to, base, offset, 0);
  }
  void store(Size size, Register base, int16_t offset, Register from) {
    add(BPF_STX | size | BPF_MEM, base, from, offset, 0);
  }
  void store(Size size, Register base, int16_t offset, int32_t value) {
    add(BPF_ST | size | BPF_MEM, base, r0, offset, value);
  }
  void atomic_add(Size size, Register base, int16_t offset, Register value) {
    add(BPF_STX | size | BPF_ATOMIC, base, value, offset, BPF_ADD);
  }
  // A map as a helper's argument: two instructions, the kernel puts the map's address in.
  void load_map(Register to, int map_fd) {
    // NOLINTNEXTLINE(misc-redundant-expression): zeros that say what they are
    add(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<Register>(BPF_PSEUDO_MAP_FD), 0, map_fd);
    add(0, r0, r0, 0, 0);
  }

  // The address of the first value of an array map.
  void load_map_value(Register to, int map_fd) {
    // NOLINTNEXTLINE(misc-redundant-expression): zeros that say what they are
    add(BPF_LD | BPF_DW | BPF_IMM, to, static_cast<Register>(BPF_PSEUDO_MAP_VALUE), 0, map_fd);
    add(0, r0, r0, 0, 0);
  }

  void jump(Label to) { jump_to(to, BPF_JMP | BPF_JA, r0, r0, 0); }
  void jump_if(Register left, Condition condition, int32_t right, Label to) {
    jump_to(to, static_cast<uint8_t>(BPF_JMP32 | condition | BPF_K), left, r0, right);
  }
  // All 64 bits: for pointers.
  void jump_if(Register left, Condition condition, Register right, Label to) {
    jump_to(to, static_cast<uint8_t>(BPF_JMP | condition | BPF_X), left, right, 0);
  }
  void jump_if_null(Register pointer, Label to) { jump_to(to, BPF_JMP | BPF_JEQ | BPF_K, pointer, r0, 0); }
  void jump_unless_null(Register pointer, Label to) { jump_to(to, BPF_JMP | BPF_JNE | BPF_K, pointer, r0, 0); }
  void call(int32_t helper) { add(BPF_JMP | BPF_CALL, r0, r0, 0, helper); }
  void exit() { add(BPF_JMP | BPF_EXIT, r0, r0, 0, 0); }

  // The program with every jump's offset filled in. Empty when a label was named and never placed.
  std::vector<bpf_insn> finish() const {
    std::vector<bpf_insn> program = program_;
    for (const Jump& jump : jumps_) {
      if (places_[jump.to] == kNowhere) return {};
      program[jump.from].off = static_cast<int16_t>(places_[jump.to] - jump.from - 1);
    }
    return program;
  }

 private:
  static constexpr size_t kNowhere = SIZE_MAX;
  struct Jump {
    size_t from;
    Label to;
  };

  void add(uint8_t code, Register to, Register from, int16_t offset, int32_t value) {
    bpf_insn instruction{};
    instruction.code = code;
    instruction.dst_reg = static_cast<uint8_t>(to & 0xf);
    instruction.src_reg = static_cast<uint8_t>(from & 0xf);
    instruction.off = offset;
    instruction.imm = value;
    program_.push_back(instruction);
  }
  void jump_to(Label to, uint8_t code, Register left, Register right, int32_t value) {
    jumps_.push_back({program_.size(), to});
    add(code, left, right, 0, value);
  }

  std::vector<bpf_insn> program_;
  std::vector<size_t> places_;
  std::vector<Jump> jumps_;
};

}  // namespace tandem
