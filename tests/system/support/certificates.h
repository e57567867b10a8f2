// Certificates made for one test, by an authority made for it: nothing lies about that could expire.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>
#include <string>

#include "tests/system/support/temporary_folder.h"

namespace pglessor::system {

// A certificate and its key, as PEM files. They go with their authority.
struct CertificateFiles {
  std::string cert;
  std::string key;
};

class CertificateAuthority {
 public:
  // `name` is its subject, to tell two of them apart.
  explicit CertificateAuthority(const std::string& name = "test authority");

  // Its own certificate's file.
  std::string path() const { return folder_.path() / "ca.pem"; }

  // Valid for an hour, with these alternative names: "DNS:localhost,IP:127.0.0.1,URI:spiffe://a/b". If there
  // is one of that name, the link to both of its files changes in one step, as a careful operator does it.
  CertificateFiles Issue(const std::string& name, const std::string& alternative_names);

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  using Key = std::unique_ptr<EVP_PKEY, Free>;
  using Certificate = std::unique_ptr<X509, Free>;

  static Key NewKey();
  // Signed by `issuer`, or by itself if that is null.
  static Certificate Make(const std::string& subject, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                          const std::string& alternative_names);

  TemporaryFolder folder_;
  int issued_ = 0;
  Key key_;
  Certificate certificate_;
};

}  // namespace pglessor::system
