// Runs the native tests: `native-tests [--seed N] [part of a name ...]`. One line for each test, and at the
// end `N passed, N failed, N skipped`. Exit code 1 if one failed or none ran.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "test.h"

namespace tandem::test {
namespace {

Test* first = nullptr;
uint64_t chosen_seed = 0;
int failed_checks = 0;
const char* skipped_because = nullptr;
constexpr int kShownChecks = 10;  // of one test; the rest is counted

bool wanted(const char* name, const std::vector<const char*>& filters) {
  if (filters.empty()) return true;
  for (const char* filter : filters) {
    if (std::strstr(name, filter) != nullptr) return true;
  }
  return false;
}

}  // namespace

Test::Test(const char* name, void (*run)()) : name(name), run(run) {
  next = first;
  first = this;
}

void check_failed(const char* file, int line, const std::string& what) {
  if (++failed_checks <= kShownChecks) std::printf("    %s:%d: %s\n", file, line, what.c_str());
}

void skip(const char* why) { skipped_because = why; }

uint64_t seed() { return chosen_seed; }

static int run_all(int argc, char** argv) {
  std::vector<const char*> filters;
  chosen_seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
      chosen_seed = std::strtoull(argv[++i], nullptr, 0);
    } else {
      filters.push_back(argv[i]);
    }
  }

  std::vector<const Test*> tests;  // registered last first, within each file
  for (const Test* test = first; test != nullptr; test = test->next) tests.insert(tests.begin(), test);

  int passed = 0, failed = 0, skipped = 0;
  for (const Test* test : tests) {
    if (!wanted(test->name, filters)) continue;
    failed_checks = 0;
    skipped_because = nullptr;
    test->run();
    if (failed_checks > 0) {
      ++failed;
      std::printf("FAILED  %s (%d checks, --seed %llu)\n", test->name, failed_checks,
                  static_cast<unsigned long long>(chosen_seed));
    } else if (skipped_because != nullptr) {
      ++skipped;
      std::printf("skipped %s: %s\n", test->name, skipped_because);
    } else {
      ++passed;
      std::printf("ok      %s\n", test->name);
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed > 0 || passed + skipped == 0 ? 1 : 0;
}

}  // namespace tandem::test

int main(int argc, char** argv) { return tandem::test::run_all(argc, argv); }
