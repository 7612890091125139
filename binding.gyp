# The native addon: every C++ file under native/ becomes build/Release/tandem.node. The list of sources is
# the directory itself, so that it stands nowhere twice. scripts/build calls node-gyp.
{
  "targets": [{
    "target_name": "tandem",
    "sources": ["<!@(find native -name '*.cc' | LC_ALL=C sort)"],
    "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "_GNU_SOURCE"],
    "cflags": [
      "-isystem", "<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")",
      "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"
    ],
    "cflags!": ["-Wno-unused-parameter"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"],
    # Bound at load, so that an incomplete addon fails there and not at the first call.
    "ldflags": ["-Wl,-z,now"],
    "configurations": { "Release": { "cflags": ["-O3"] } },
    "conditions": [
      # The baseline of every x86-64 server since 2009 (SSE4.2, POPCNT): a build runs on any of them, not
      # only on a machine like the one that built it.
      ["target_arch=='x64'", { "cflags": ["-march=x86-64-v2"] }]
    ]
  }]
}
