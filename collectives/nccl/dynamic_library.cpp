#include "collectives/nccl/dynamic_library.h"

#include <utility>

#include "common/error.h"

#include <dlfcn.h>
#include <link.h>

namespace enodia {
namespace {

std::string last_reason() {
  const char* reason = dlerror();
  return reason == nullptr ? "no reason given" : reason;
}

std::string path_of_handle(void* handle) {
  link_map* map = nullptr;
  return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr ? map->l_name
                                                                      : "an unknown file";
}

}  // namespace

DynamicLibrary::DynamicLibrary(std::string name, Symbols symbols)
    : name_(std::move(name)),
      handle_(dlopen(name_.c_str(),
                     RTLD_NOW | (symbols == Symbols::kForAll ? RTLD_GLOBAL : RTLD_LOCAL))) {
  if (handle_ == nullptr) {
    throw CommError("the library " + name_ + " cannot be opened (" + last_reason() +
                    "); install it or name its folder in LD_LIBRARY_PATH");
  }
}

std::string DynamicLibrary::path() const {
  return path_of_handle(handle_);
}

void* DynamicLibrary::address_of(const char* symbol) const {
  void* address = dlsym(handle_, symbol);
  if (address == nullptr) {
    throw CommError("the library " + name_ + ", found as " + path_of_handle(handle_) +
                    ", has no function " + symbol +
                    "; install the version that Enodia was built with");
  }
  return address;
}

std::string DynamicLibrary::path_of(const void* function) {
  Dl_info where{};
  return dladdr(function, &where) != 0 && where.dli_fname != nullptr ? where.dli_fname
                                                                     : "an unknown file";
}

}  // namespace enodia
