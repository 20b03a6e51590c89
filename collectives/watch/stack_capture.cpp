#include "collectives/watch/stack_capture.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string_view>
#include <thread>

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

namespace enodia {
namespace {

/// "enodia::Recorder::record(std::unique_ptr<...>)" without what follows the name.
std::string short_name(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(symbol, nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? demangled.get() : symbol;
  constexpr std::string_view kAnonymous = "(anonymous namespace)";
  size_t bracket = name.find('(');
  while (bracket != std::string::npos &&
         std::string_view(name).substr(bracket).starts_with(kAnonymous)) {
    bracket = name.find('(', bracket + kAnonymous.size());
  }
  return name.substr(0, bracket).substr(0, 120);
}

std::string describe(void* address) {
  Dl_info info{};
  std::ostringstream text;
  // A return address may already belong to the next function.
  if (::dladdr(static_cast<std::byte*>(address) - 1, &info) == 0 || info.dli_fname == nullptr) {
    text << address;
    return text.str();
  }
  const std::string path = info.dli_fname;
  const std::string file = path.substr(path.rfind('/') + 1);
  if (info.dli_sname != nullptr) {
    return short_name(info.dli_sname) + " (" + file + ")";
  }
  text << file << "+0x" << std::hex
       << static_cast<std::byte*>(address) - static_cast<std::byte*>(info.dli_fbase);
  return text.str();
}

}  // namespace

void StackCapture::answer(int, siginfo_t* info, void*) {
  if (info->si_code != SI_QUEUE || info->si_pid != ::getpid()) {
    return;  // not our question
  }
  const int error = errno;
  auto* request = static_cast<Request*>(info->si_value.sival_ptr);
  request->count.store(
      ::backtrace(request->addresses.data(), static_cast<int>(request->addresses.size())));
  errno = error;
}

StackCapture::StackCapture() : thread_(::pthread_self()) {
  void* unused = nullptr;
  ::backtrace(&unused, 1);  // loads what it needs now: it must not allocate inside the handler
  struct sigaction action = {};
  action.sa_sigaction = &StackCapture::answer;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigaction(SIGRTMIN + 3, &action, nullptr);
}

std::vector<std::string> StackCapture::take(std::chrono::milliseconds patience) {
  sigval value = {};
  value.sival_ptr = &request_;
  if (::pthread_sigqueue(thread_, SIGRTMIN + 3, value) != 0) {
    return {};
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (request_.count.load() < 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  constexpr int kOwnFrames = 2;  // the handler and the way into it
  std::vector<std::string> names;
  for (int i = kOwnFrames; i < request_.count.load(); ++i) {
    names.push_back(describe(request_.addresses[i]));
  }
  return names;
}

}  // namespace enodia
