#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace enodia {

/// Watches a sequence of stages that may wait for ever, as for a machine behind a firewall. When a
/// stage lasts too long, `give_up` is called once, with the stage's name, on a thread of its own.
class Patience {
 public:
  Patience(std::chrono::milliseconds limit, std::function<void(const std::string&)> give_up);
  ~Patience();
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  /// The next stage begins; an empty name is one that may last.
  void expect(std::string stage);

 private:
  void watch(std::chrono::milliseconds limit,
             const std::function<void(const std::string&)>& give_up);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string stage_;
  int64_t stages_ = 0;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace enodia
