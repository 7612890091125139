// Captures across the boundary: CaptureFilter in, records of native/capture.h out.
#include "addon.h"
#include "engine.h"

namespace tandem {
namespace {

constexpr uint32_t kSnaplenMin = 64;
// A record must fit, whatever it is.
constexpr size_t kTakeBytesMin = 128 * 1024;

CaptureFilter read_filter(ObjectReader* reader, const Napi::Object& object) {
  CaptureFilter filter;
  filter.snaplen = reader->integer(object, "snaplenBytes", "", kSnaplenMin, kFrameBytesMax);
  if (!reader->ok()) return filter;
  const Napi::Value given = object.Get("client");
  if (!given.IsObject()) return filter;
  const Napi::Object client = given.As<Napi::Object>();
  filter.client = reader->address(client, "address", "client");
  const uint32_t bits_max = filter.client.family == 4 ? 32 : 128;
  filter.client_bits = static_cast<uint8_t>(reader->integer(client, "prefixBits", "client", 0, bits_max));
  return filter;
}

}  // namespace

Napi::Value start_capture(const Napi::CallbackInfo& info, Engine& engine) {
  const Napi::Env env = info.Env();
  ObjectReader reader;
  const Napi::Object object = reader.object(info[0], "filter");
  CaptureFilter filter = reader.ok() ? read_filter(&reader, object) : CaptureFilter{};
  if (!reader.ok()) {
    throw_type_error(env, "startCapture: " + reader.fault());
    return env.Undefined();
  }
  if (const Napi::Value name = object.Get("virtualServer"); name.IsString()) {
    filter.virtual_server = engine.server_id(name.As<Napi::String>().Utf8Value());
    if (filter.virtual_server == IdRegistry::kNone) return Napi::Boolean::New(env, false);
  }
  if (SystemError error = engine.start_capture(filter); error.failed()) {
    throw_system_error(env, "startCapture", error);
    return env.Undefined();
  }
  return Napi::Boolean::New(env, true);
}

Napi::Value take_capture(const Napi::CallbackInfo& info, Engine& engine) {
  const auto into = octets_of(info, 0, "takeCapture");
  if (!into) return info.Env().Undefined();
  if (into->bytes < kTakeBytesMin) {
    throw_range_error(info.Env(), "takeCapture: " + std::to_string(into->bytes) + " bytes; a record may have " +
                                      std::to_string(kTakeBytesMin));
    return info.Env().Undefined();
  }
  Capture* capture = engine.capture();
  const size_t taken = capture == nullptr ? 0 : capture->take(into->data, into->bytes);
  return Napi::Number::New(info.Env(), static_cast<double>(taken));
}

Napi::Value capture_counts(const Napi::CallbackInfo& info, Engine& engine) {
  const Napi::Env env = info.Env();
  Napi::Array rows = Napi::Array::New(env);
  const Capture* capture = engine.capture();
  if (capture == nullptr) return rows;
  for (uint32_t device = 0; device < engine.options().devices.size(); device++) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("wanted", static_cast<double>(capture->wanted(device)));
    row.Set("missed", static_cast<double>(capture->missed(device)));
    rows.Set(device, row);
  }
  return rows;
}

}  // namespace tandem
