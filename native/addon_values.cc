// Reading JavaScript values and throwing errors that say where.
#include <cmath>

#include "addon.h"
#include "address_text.h"

namespace tandem {
namespace {

std::string number_text(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return std::to_string(static_cast<int64_t>(value));
  return std::to_string(value);
}

const char* type_name(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_object:
      return "an object";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      return "something else";
  }
}

bool is_integer(const Napi::Value& value, uint32_t low, uint32_t high, uint32_t* integer) {
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= low && number <= high) || number != std::floor(number)) return false;
  *integer = static_cast<uint32_t>(number);
  return true;
}

}  // namespace

void throw_system_error(Napi::Env env, const char* where, const SystemError& error) {
  const Napi::Error thrown = Napi::Error::New(env, std::string(where) + ": " + error.message);
  thrown.Value().Set("code", error.code);
  thrown.ThrowAsJavaScriptException();
}

void throw_type_error(Napi::Env env, const std::string& message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
}

void throw_range_error(Napi::Env env, const std::string& message) {
  Napi::RangeError::New(env, message).ThrowAsJavaScriptException();
}

std::optional<Octets> octets_of(const Napi::CallbackInfo& info, size_t index, const char* where) {
  if (!info[index].IsTypedArray() || info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw_type_error(info.Env(), std::string(where) + ": argument " + std::to_string(index + 1) + " is " +
                                     type_name(info[index]) + ", not a Uint8Array");
    return std::nullopt;
  }
  auto array = info[index].As<Napi::Uint8Array>();
  return Octets{array.Data(), array.ByteLength()};
}

std::optional<Words> words_of(const Napi::CallbackInfo& info, size_t index, const char* where) {
  if (!info[index].IsTypedArray() || info[index].As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array) {
    throw_type_error(info.Env(), std::string(where) + ": argument " + std::to_string(index + 1) + " is " +
                                     type_name(info[index]) + ", not a BigUint64Array");
    return std::nullopt;
  }
  auto array = info[index].As<Napi::BigUint64Array>();
  return Words{array.Data(), array.ElementLength()};
}

std::optional<int64_t> integer_of(const Napi::CallbackInfo& info, size_t index, int64_t low, int64_t high,
                                  const char* where, const char* name) {
  const double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : std::nan("");
  if (value == std::floor(value) && value >= static_cast<double>(low) && value <= static_cast<double>(high)) {
    return static_cast<int64_t>(value);
  }
  throw_range_error(info.Env(), std::string(where) + ": " + name + " must be an integer from " + std::to_string(low) +
                                    " to " + std::to_string(high) + ", and is " +
                                    (info[index].IsNumber() ? number_text(value) : type_name(info[index])));
  return std::nullopt;
}

void ObjectReader::fail(const std::string& path, const std::string& what) {
  if (fault_.empty()) fault_ = path + ": " + what;
}

Napi::Value ObjectReader::get(const Napi::Object& object, const char* key, const std::string& path) {
  const Napi::Value value = object.Get(key);
  // A getter may have thrown: that exception is what the caller sees.
  if (value.Env().IsExceptionPending()) {
    fail(member_of(path, key), "reading it threw");
    return value.Env().Undefined();
  }
  return value;
}

Napi::Object ObjectReader::object(const Napi::Value& value, const std::string& path) {
  if (!ok() || value.IsObject()) return ok() ? value.As<Napi::Object>() : Napi::Object::New(value.Env());
  fail(path, std::string("is ") + type_name(value) + ", not an object");
  return Napi::Object::New(value.Env());
}

Napi::Array ObjectReader::array(const Napi::Object& object, const char* key, const std::string& path) {
  if (ok()) {
    const Napi::Value value = get(object, key, path);
    if (value.IsArray()) return value.As<Napi::Array>();
    fail(member_of(path, key), std::string("is ") + type_name(value) + ", not an array");
  }
  return Napi::Array::New(object.Env());
}

Napi::Array ObjectReader::array(const Napi::Value& value, const std::string& path) {
  if (ok()) {
    if (value.IsArray()) return value.As<Napi::Array>();
    fail(path, std::string("is ") + type_name(value) + ", not an array");
  }
  return Napi::Array::New(value.Env());
}

std::string ObjectReader::text(const Napi::Object& object, const char* key, const std::string& path) {
  if (!ok()) return {};
  const Napi::Value value = get(object, key, path);
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  fail(member_of(path, key), std::string("is ") + type_name(value) + ", not a string");
  return {};
}

bool ObjectReader::boolean(const Napi::Object& object, const char* key, const std::string& path) {
  if (!ok()) return false;
  const Napi::Value value = get(object, key, path);
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  fail(member_of(path, key), std::string("is ") + type_name(value) + ", not a boolean");
  return false;
}

double ObjectReader::number(const Napi::Object& object, const char* key, const std::string& path, double low,
                            double high) {
  if (!ok()) return low;
  const Napi::Value value = get(object, key, path);
  if (!value.IsNumber()) {
    fail(member_of(path, key), std::string("is ") + type_name(value) + ", not a number");
    return low;
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  if (number >= low && number <= high) return number;
  fail(member_of(path, key),
       number_text(number) + " is out of range (" + number_text(low) + " to " + number_text(high) + ")");
  return low;
}

uint32_t ObjectReader::integer(const Napi::Value& value, const std::string& path, uint32_t low, uint32_t high) {
  if (!ok()) return low;
  if (uint32_t number; value.IsNumber() && is_integer(value, low, high, &number)) return number;
  if (!value.IsNumber()) {
    fail(path, std::string("is ") + type_name(value) + ", not a number");
    return low;
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  if (number != std::floor(number)) {
    fail(path, number_text(number) + " is no integer");
  } else if (number >= low && number <= high) {
    return static_cast<uint32_t>(number);
  } else {
    fail(path, number_text(number) + " is out of range (" + std::to_string(low) + " to " + std::to_string(high) + ")");
  }
  return low;
}

uint32_t ObjectReader::integer(const Napi::Object& object, const char* key, const std::string& path, uint32_t low,
                               uint32_t high) {
  if (!ok()) return low;
  const Napi::Value value = get(object, key, path);
  // The path is put together only when it is needed: a policy has tens of thousands of numbers.
  if (uint32_t number; value.IsNumber() && is_integer(value, low, high, &number)) return number;
  return integer(value, member_of(path, key), low, high);
}

Address ObjectReader::address(const Napi::Value& value, const std::string& path) {
  Address address{};
  if (!ok()) return address;
  if (!value.IsString()) {
    fail(path, std::string("is ") + type_name(value) + ", not an address");
  } else if (const std::string text = value.As<Napi::String>().Utf8Value(); !parse_address(text, &address)) {
    fail(path, "\"" + text + "\" is neither an IPv4 nor an IPv6 address");
  }
  return address;
}

Address ObjectReader::address(const Napi::Object& object, const char* key, const std::string& path) {
  if (!ok()) return {};
  const Napi::Value value = get(object, key, path);
  Address address{};
  if (value.IsString() && parse_address(value.As<Napi::String>().Utf8Value(), &address)) return address;
  return this->address(value, member_of(path, key));
}

size_t ObjectReader::choice(const Napi::Object& object, const char* key, const std::string& path,
                            const char* const* words) {
  const std::string given = text(object, key, path);
  for (size_t i = 0; words[i] != nullptr; i++) {
    if (given == words[i]) return i;
  }
  std::string all;
  for (size_t i = 0; words[i] != nullptr; i++) all += (i == 0 ? "" : ", ") + std::string(words[i]);
  if (ok()) fail(member_of(path, key), "\"" + given + "\" is none of " + all);
  return 0;
}

}  // namespace tandem
