#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <mpi.h>

#include "collectives/communicator.h"

namespace enodia {

/// Throws CommError with the call and the library's text unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

#define ENODIA_MPI(call) ::enodia::check_mpi((call), #call)

/// An MPI communicator and whether anything went wrong on it. After an error the state of MPI is
/// undefined, so whatever is still under way on it fails at once instead of waiting.
class MpiLink {
 public:
  /// Owns `comm`. Messages longer than `chunk_bytes` travel in pieces.
  MpiLink(MPI_Comm comm, int64_t chunk_bytes);
  ~MpiLink();
  MpiLink(const MpiLink&) = delete;
  MpiLink& operator=(const MpiLink&) = delete;

  MPI_Comm comm() const { return comm_; }
  int64_t chunk_bytes() const { return chunk_bytes_; }
  const std::string& failure() const { return failure_; }
  void fail(const std::string& why);

 private:
  MPI_Comm comm_;
  int64_t chunk_bytes_;
  std::string failure_;  // empty = none
};

/// A batch of MPI requests. A message travels as one or more pieces; each piece's tag names the
/// dtype, says whether it is the message's last and carries the number of the exchange. Receives
/// take any tag, so that they notice a message that is longer, shorter, of another dtype or of
/// another exchange than expected.
class MpiOperation : public PendingOperation {
 public:
  /// `number` of the exchange on its communicator; it travels with every piece.
  explicit MpiOperation(std::shared_ptr<MpiLink> link, int64_t number = 0)
      : link_(std::move(link)),
        number_(number) {}
  ~MpiOperation() override;

  void receive(const Message& message);
  void send(const Message& message);
  void broadcast(const Buffer& buffer, int root);
  void barrier();

  void wait(const Queue& queue) override;
  bool done() override;

 private:
  /// What a receive expects, for its check; `peer` < 0 = nothing to check.
  struct Piece {
    int peer = -1;
    int tag = 0;
    int bytes = 0;
    Buffer whole;
  };

  MPI_Request* add(Piece piece);
  int tag_of(DType dtype, bool is_last) const;
  void progress();
  void check(const Piece& piece, const MPI_Status& status);
  bool finished() const { return outstanding_ == 0 || !link_->failure().empty(); }

  std::shared_ptr<MpiLink> link_;
  int64_t number_;
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;
  size_t outstanding_ = 0;
  std::vector<int> indices_;  // room for MPI_Testsome
  std::vector<MPI_Status> statuses_;
};

}  // namespace enodia
