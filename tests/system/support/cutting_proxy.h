// Stands between pglessor and PostgreSQL, on a socket of its own, and cuts after a byte that the test
// chooses, or answers in PostgreSQL's stead.
//
// Threads: any; what passes through it does so on a thread of its own.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {

class CuttingProxy {
 public:
  enum class Way { kToPostgres, kFromPostgres };

  // To the PostgreSQL whose socket is this file.
  explicit CuttingProxy(std::string postgres_socket);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  // The folder of its socket: a DSN's `host`.
  std::string host() const { return folder_.path(); }

  // From now on `bytes` more pass this way, and then all connections are cut, both ways, once.
  void CutAfter(Way way, size_t bytes);
  // Nothing is cut any more. Whether something has been.
  bool Disarm();
  // What is sent to PostgreSQL next does not reach it, and is answered with these bytes.
  void AnswerNext(std::string bytes);
  // All that are connected are sent these bytes, as if PostgreSQL had.
  void SendUnasked(std::string bytes);

 private:
  struct Pair {
    int client = -1, postgres = -1;
  };
  struct Cut {
    Way way = Way::kToPostgres;
    size_t left = 0;
  };

  void Run();
  void Accept();
  // False once one of the two has ended.
  bool Pass(const Pair& pair, Way way);
  // What is there, once.
  std::optional<std::string> Take(std::optional<std::string>& bytes);
  // How much of `size` may pass, and whether that is the last.
  size_t Allowed(Way way, size_t size, bool& cut);
  static void Close(const Pair& pair);

  const std::string postgres_socket_;
  const TemporaryFolder folder_;
  int listener_ = -1;
  std::list<Pair> pairs_;  // the thread's own

  std::mutex mutex_;
  std::optional<Cut> armed_;
  std::optional<std::string> answer_;
  std::optional<std::string> unasked_;

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace pglessor::system
