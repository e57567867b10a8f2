// A caller by HTTP who writes whatever bytes a test likes, and reads what comes back.
#pragma once

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace pglessor::test {

struct HttpAnswer {
  int status = 0;                              // 0 if what came is no answer
  std::map<std::string, std::string> headers;  // their names in lower case
  std::string body;
};

// One connection. Threads: one.
class HttpCaller {
 public:
  // `address` is 127.0.0.1:PORT.
  explicit HttpCaller(const std::string& address);
  ~HttpCaller();
  HttpCaller(const HttpCaller&) = delete;
  HttpCaller& operator=(const HttpCaller&) = delete;

  // Less than all of it if the server has closed meanwhile.
  void Send(absl::string_view bytes) const;
  // A request without a body, that would keep the connection.
  void Ask(absl::string_view method, absl::string_view path) const;

  // All that comes until the server closes, which must be within the test's patience.
  std::string ReadAll() const;
  HttpAnswer ReadAnswer() const;

 private:
  int socket_ = -1;
};

HttpAnswer HttpGet(const std::string& address, absl::string_view path);

}  // namespace pglessor::test
