// What build/Release/tandem.node exports: the classes, and the names of everything that is counted.
#include <cctype>
#include <string>

#include "addon.h"
#include "counters.h"

namespace tandem {
namespace {

// kNoMember -> no_member
std::string snake_case(const char* name) {
  std::string text;
  for (const char* at = name + 1; *at != '\0'; at++) {
    if (isupper(static_cast<unsigned char>(*at)) && !text.empty()) text.push_back('_');
    text.push_back(static_cast<char>(tolower(static_cast<unsigned char>(*at))));
  }
  return text;
}

struct Named {
  const char* name;
  const char* sentence;
};

template <size_t kEntries>
Napi::Array names(Napi::Env env, const Named (&entries)[kEntries]) {
  Napi::Array array = Napi::Array::New(env, kEntries);
  for (uint32_t i = 0; i < kEntries; i++) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, snake_case(entries[i].name));
    pair.Set(1u, entries[i].sentence);
    array.Set(i, pair);
  }
  return array;
}

#define X(name, text) {#name, text},
constexpr Named kDropNames[] = {TANDEM_FOREACH_DROP(X)};
constexpr Named kCountNames[] = {TANDEM_FOREACH_COUNT(X)};
#undef X

Napi::Object export_all(Napi::Env env, Napi::Object exports) {
  export_datapath(env, exports);
  export_shared_state(env, exports);
  export_sockets(env, exports);
  export_carrier(env, exports);
  exports.Set("dropNames", names(env, kDropNames));
  exports.Set("countNames", names(env, kCountNames));
  return exports;
}

NODE_API_MODULE(tandem, export_all)

}  // namespace
}  // namespace tandem
