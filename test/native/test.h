// Tests of the native code: TEST(name) registers itself, main.cc runs them. No framework and no exceptions.
//
//   TEST(a_closed_connection_is_found_by_nobody) { CHECK_EQ(table.used(), 0u); }
//
// A failed check is reported with its values and the test goes on; REQUIRE leaves the test, for what the
// rest depends on. SKIP says why and leaves: a skipped test is counted, and is not a pass.
#pragma once

#include <concepts>
#include <cstdint>
#include <random>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace tandem::test {

struct Test {
  Test(const char* name, void (*run)());
  const char* name;
  void (*run)();
  Test* next = nullptr;
};

void check_failed(const char* file, int line, const std::string& what);
void skip(const char* why);

// What random tests start from: --seed N, else chosen anew each run; printed when a test fails.
uint64_t seed();
inline std::mt19937_64 random_engine() { return std::mt19937_64(seed()); }

template <typename T>
void show(std::ostringstream& out, const T& value) {
  if constexpr (std::is_enum_v<T>) {
    out << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (requires { out << +value; }) {
    out << +value;
  } else if constexpr (requires { out << value; }) {
    out << value;
  } else {
    out << "(" << sizeof(T) << " bytes)";
  }
}

template <typename A, typename B>
constexpr bool equal(const A& a, const B& b) {
  if constexpr (std::integral<A> && std::integral<B> && !std::same_as<A, bool> && !std::same_as<B, bool>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

template <typename A, typename B>
bool check_equal(const A& a, const B& b, const char* file, int line, const char* text) {
  if (equal(a, b)) return true;
  std::ostringstream out;
  out << text << ": ";
  show(out, a);
  out << " is not ";
  show(out, b);
  check_failed(file, line, out.str());
  return false;
}

}  // namespace tandem::test

#define TEST(name)                                                   \
  static void test_##name();                                         \
  static ::tandem::test::Test registered_##name(#name, test_##name); \
  static void test_##name()

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) ::tandem::test::check_failed(__FILE__, __LINE__, #condition); \
  } while (0)

#define CHECK_EQ(a, b) (void)::tandem::test::check_equal((a), (b), __FILE__, __LINE__, #a " == " #b)

#define REQUIRE(condition)                                          \
  do {                                                              \
    if (!(condition)) {                                             \
      ::tandem::test::check_failed(__FILE__, __LINE__, #condition); \
      return;                                                       \
    }                                                               \
  } while (0)

#define SKIP(why)              \
  do {                         \
    ::tandem::test::skip(why); \
    return;                    \
  } while (0)
