#include "collectives/watch/board_network.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <future>
#include <random>
#include <sstream>

#include "collectives/collectives.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace enodia {
namespace {

using Clock = std::chrono::steady_clock;

/// For one address of one rank, so that a node has time for its others.
constexpr auto kAttempt = std::chrono::milliseconds(400);
constexpr int64_t kMostNumbers = 1 << 20;  // of an answer; more is no answer of ours

int milliseconds_until(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1000000));
}

/// A connection that closes itself, and whose reads and writes end by a deadline.
class Connection {
 public:
  Connection(int number, Clock::time_point deadline) : number_(number), deadline_(deadline) {
    if (number_ >= 0) {
      ::fcntl(number_, F_SETFL, ::fcntl(number_, F_GETFL) | O_NONBLOCK);
    }
  }
  ~Connection() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool connect(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (number_ < 0 || ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
      return false;
    }
    if (::connect(number_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      return true;
    }
    int error = errno;
    if (error == EINPROGRESS && wait(POLLOUT)) {
      socklen_t size = sizeof error;
      ::getsockopt(number_, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    return error == 0;
  }

  bool send(const void* bytes, size_t count) {
    const auto* from = static_cast<const char*>(bytes);
    while (count > 0) {
      const ssize_t done = ::send(number_, from, count, MSG_NOSIGNAL);
      if (done > 0) {
        from += done;
        count -= static_cast<size_t>(done);
      } else if (!may_go_on(done, POLLOUT)) {
        return false;
      }
    }
    return true;
  }

  bool receive(void* bytes, size_t count) {
    auto* to = static_cast<char*>(bytes);
    while (count > 0) {
      const ssize_t done = ::recv(number_, to, count, 0);
      if (done > 0) {
        to += done;
        count -= static_cast<size_t>(done);
      } else if (done == 0 || !may_go_on(done, POLLIN)) {
        return false;
      }
    }
    return true;
  }

 private:
  bool wait(short events) const {
    pollfd entry{number_, events, 0};
    return ::poll(&entry, 1, milliseconds_until(deadline_)) == 1;
  }
  bool may_go_on(ssize_t done, short events) const {
    return done < 0 &&
           (errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && wait(events)));
  }

  int number_;
  Clock::time_point deadline_;
};

/// Of the interfaces that are up; the loopback's only where there is no other.
std::string own_hosts() {
  std::string hosts;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) {
    return hosts;
  }
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    const bool useful = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET &&
                        (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0;
    std::array<char, INET_ADDRSTRLEN> text{};
    if (useful && ::inet_ntop(AF_INET,
                              &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr,
                              text.data(),
                              text.size()) != nullptr) {
      hosts.append(" ").append(text.data());
    }
  }
  ::freeifaddrs(first);
  return hosts.empty() ? " 127.0.0.1" : hosts;
}

/// What a rank is asked: a machine may have an address that another one has too (a container's
/// bridge), where another job, or another rank, listens.
struct Question {
  uint64_t job = 0;
  int64_t rank = 0;
};

}  // namespace

BoardNetwork::BoardNetwork(Communicator& world, const StatusBoard& board)
    : board_(board),
      rank_(world.rank()) {
  const std::vector<int>& nodes = board.nodes();
  if (std::all_of(nodes.begin(), nodes.end(), [&](int node) { return node == nodes[0]; })) {
    return;
  }
  const std::string first = all_gather_text(
      world, std::to_string(std::random_device()()) + std::to_string(::getpid()))[0];
  job_ = std::hash<std::string>()(first);
  listen();
  std::string own;
  if (listener_ >= 0) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    own = std::to_string(ntohs(address.sin_port)) + own_hosts();
  } else {
    log_warning(std::string("the watchdogs of other nodes cannot ask this rank: ") +
                std::strerror(errno));
  }
  addresses_ = all_gather_text(world, own);
  if (listener_ >= 0) {
    sigset_t all = {}, before = {};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
    thread_ = std::thread([this] { answer_all(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
}

BoardNetwork::~BoardNetwork() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    static_cast<void>(::write(stopping_, &one, sizeof one));
    thread_.join();
  }
  for (const int descriptor : {listener_, stopping_}) {
    if (descriptor >= 0) {
      ::close(descriptor);
    }
  }
}

void BoardNetwork::listen() {
  stopping_ = ::eventfd(0, EFD_CLOEXEC);
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in anywhere{};
  anywhere.sin_family = AF_INET;
  if (stopping_ >= 0 && descriptor >= 0 &&
      ::bind(descriptor, reinterpret_cast<const sockaddr*>(&anywhere), sizeof anywhere) == 0 &&
      ::listen(descriptor, 64) == 0) {
    listener_ = descriptor;
  } else if (descriptor >= 0) {
    ::close(descriptor);
  }
}

void BoardNetwork::answer_all() {
  while (true) {
    std::array<pollfd, 2> entries{{{listener_, POLLIN, 0}, {stopping_, POLLIN, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
      return;
    }
    if (entries[1].revents != 0) {
      return;
    }
    if ((entries[0].revents & POLLIN) == 0) {
      continue;
    }
    Connection caller(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC),
                      Clock::now() + kAttempt);
    Question question;
    if (caller.receive(&question, sizeof question) && question.job == job_ &&
        question.rank == rank_) {
      const std::vector<int64_t> numbers = to_numbers(observe(board_));
      const auto count = static_cast<int64_t>(numbers.size());
      static_cast<void>(caller.send(&count, sizeof count) &&
                        caller.send(numbers.data(), numbers.size() * sizeof(int64_t)));
    }
  }
}

std::vector<ObservedNode> BoardNetwork::ask(std::chrono::milliseconds patience) const {
  std::vector<std::future<ObservedNode>> answers;
  if (!addresses_.empty()) {
    const std::vector<int>& nodes = board_.nodes();
    const int last = *std::max_element(nodes.begin(), nodes.end());
    for (int node = 0; node <= last; ++node) {
      if (node != nodes[rank_]) {
        answers.push_back(std::async(std::launch::async, [this, node, patience] {
          return ask_node(node, Clock::now() + patience);
        }));
      }
    }
  }
  std::vector<ObservedNode> observed;
  for (std::future<ObservedNode>& answer : answers) {
    observed.push_back(answer.get());
  }
  return observed;
}

/// Its ranks in turn, for the first may be the one that is stopped.
ObservedNode BoardNetwork::ask_node(int node, Clock::time_point deadline) const {
  for (int rank = 0; rank < std::ssize(addresses_); ++rank) {
    if (board_.nodes()[rank] != node) {
      continue;
    }
    std::istringstream words(addresses_[rank]);
    int port = 0;
    words >> port;
    for (std::string host; words >> host && Clock::now() < deadline;) {
      Connection connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            std::min(deadline, Clock::now() + kAttempt));
      const Question question{job_, rank};
      int64_t count = 0;
      if (!connection.connect(host, port) || !connection.send(&question, sizeof question) ||
          !connection.receive(&count, sizeof count) || count < 0 || count > kMostNumbers) {
        continue;
      }
      std::vector<int64_t> numbers(static_cast<size_t>(count));
      if (connection.receive(numbers.data(), numbers.size() * sizeof(int64_t))) {
        return {node, observed_ranks(numbers)};
      }
    }
  }
  return {node, {}};
}

}  // namespace enodia
