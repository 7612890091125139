// What the addon's files share: the classes it exports and how values cross. Only addon*.cc know
// JavaScript.
//
// Built without C++ exceptions: a failed check throws a JavaScript error and returns at once.
#pragma once

#include <napi.h>

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "id_registry.h"
#include "limits.h"
#include "system_error.h"

namespace tandem {

// Each defines its class and puts it into the exports.
void export_datapath(Napi::Env env, Napi::Object exports);
void export_shared_state(Napi::Env env, Napi::Object exports);
void export_sockets(Napi::Env env, Napi::Object exports);
void export_carrier(Napi::Env env, Napi::Object exports);

// Error with errno's name as its `code`.
void throw_system_error(Napi::Env env, const char* where, const SystemError& error);
void throw_type_error(Napi::Env env, const std::string& message);
void throw_range_error(Napi::Env env, const std::string& message);

// Octets of an argument that must be a Uint8Array (a Buffer is one). Nothing: thrown.
struct Octets {
  uint8_t* data;
  size_t bytes;
};
std::optional<Octets> octets_of(const Napi::CallbackInfo& info, size_t index, const char* where);
// Words of an argument that must be a BigUint64Array.
struct Words {
  uint64_t* data;
  size_t count;
};
std::optional<Words> words_of(const Napi::CallbackInfo& info, size_t index, const char* where);
// An argument that must be an integer in [low, high].
std::optional<int64_t> integer_of(const Napi::CallbackInfo& info, size_t index, int64_t low, int64_t high,
                                  const char* where, const char* name);

// Walks plain objects and remembers the first fault as a sentence with its path:
// "virtualServers[0].pool: 3 is out of range (0 to 1)". After a fault everything reads as nothing.
class ObjectReader {
 public:
  bool ok() const { return fault_.empty(); }
  const std::string& fault() const { return fault_; }
  void fail(const std::string& path, const std::string& what);

  // Whether an optional key is given.
  bool has(const Napi::Object& object, const char* key) const { return ok() && !object.Get(key).IsUndefined(); }
  Napi::Object object(const Napi::Value& value, const std::string& path);
  Napi::Array array(const Napi::Object& object, const char* key, const std::string& path);
  Napi::Array array(const Napi::Value& value, const std::string& path);
  std::string text(const Napi::Object& object, const char* key, const std::string& path);
  bool boolean(const Napi::Object& object, const char* key, const std::string& path);
  double number(const Napi::Object& object, const char* key, const std::string& path, double low, double high);
  uint32_t integer(const Napi::Object& object, const char* key, const std::string& path, uint32_t low, uint32_t high);
  uint32_t integer(const Napi::Value& value, const std::string& path, uint32_t low, uint32_t high);
  Address address(const Napi::Value& value, const std::string& path);
  Address address(const Napi::Object& object, const char* key, const std::string& path);
  // Index of the word in `words`, which ends with nullptr.
  size_t choice(const Napi::Object& object, const char* key, const std::string& path, const char* const* words);

 private:
  Napi::Value get(const Napi::Object& object, const char* key, const std::string& path);

  std::string fault_;
};

inline std::string element(const std::string& path, size_t index) { return path + "[" + std::to_string(index) + "]"; }
inline std::string member_of(const std::string& path, const char* key) {
  return path.empty() ? std::string(key) : path + "." + key;
}

// What was read last and is in force: a pool that is the same object in the same place is not read again.
struct PolicyBefore {
  Napi::Array pools;     // of the description; empty: none
  const Policy* policy;  // what came of it
};

// addon_policy.cc: MirrorRule of src/datapath.ts.
MirrorRule read_mirror(ObjectReader* reader, const Napi::Value& value, const std::string& path);

// addon_agreement.cc
// Names of virtual servers, an array; undefined: all of them. One that this unit does not have is passed over. Nothing:
// thrown.
class Engine;
std::optional<std::bitset<kVirtualServersMax>> servers_of(const Napi::CallbackInfo& info, size_t index,
                                                          const Engine& engine, const char* where);
Napi::Value lost_servers(const Napi::CallbackInfo& info, Engine& engine);
void restart_digests(const Napi::CallbackInfo& info, Engine& engine);
Napi::Value read_digests(const Napi::CallbackInfo& info, Engine& engine);

// addon_capture.cc
Napi::Value start_capture(const Napi::CallbackInfo& info, Engine& engine);
Napi::Value take_capture(const Napi::CallbackInfo& info, Engine& engine);
Napi::Value capture_counts(const Napi::CallbackInfo& info, Engine& engine);

// addon_policy.cc: PolicyDescription of src/datapath.ts. False: `reader` says what is wrong.
bool read_policy(ObjectReader* reader, const Napi::Value& value, size_t devices, const PolicyBefore& before,
                 PolicyDraft* draft);

}  // namespace tandem
