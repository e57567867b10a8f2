#include "tests/system/support/certificates.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace pglessor::system {
namespace {

constexpr long kSeconds = 3600;

// OpenSSL's calls give 0 or null where they fail.
template <typename T>
T Must(T result) {
  if (!result) throw std::runtime_error("OpenSSL refused to make a certificate");
  return result;
}

template <typename Write>
void WritePem(const std::filesystem::path& path, Write write) {
  std::FILE* const file = Must(std::fopen(path.c_str(), "w"));
  Must(write(file));
  Must(std::fclose(file) == 0);
}

void Extend(X509* certificate, X509* issuer, int extension, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const made = Must(X509V3_EXT_conf_nid(nullptr, &context, extension, value.c_str()));
  Must(X509_add_ext(certificate, made, -1));
  X509_EXTENSION_free(made);
}

}  // namespace

CertificateAuthority::CertificateAuthority(const std::string& name)
    : key_(NewKey()), certificate_(Make(name, key_.get(), nullptr, key_.get(), "")) {
  WritePem(path(), [&](std::FILE* file) { return PEM_write_X509(file, certificate_.get()); });
}

CertificateFiles CertificateAuthority::Issue(const std::string& name, const std::string& alternative_names) {
  const Key key = NewKey();
  const Certificate certificate = Make(name, key.get(), certificate_.get(), key_.get(), alternative_names);
  const std::filesystem::path pair = folder_.path() / absl::StrCat("pair-", ++issued_);
  std::filesystem::create_directory(pair);
  WritePem(pair / "cert.pem", [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
  WritePem(pair / "key.pem", [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  const std::filesystem::path link = folder_.path() / name;
  const std::filesystem::path next = folder_.path() / absl::StrCat(name, ".next");
  std::filesystem::create_directory_symlink(pair, next);
  std::filesystem::rename(next, link);
  return {link / "cert.pem", link / "key.pem"};
}

CertificateAuthority::Key CertificateAuthority::NewKey() {
  return Key(Must(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")));
}

CertificateAuthority::Certificate CertificateAuthority::Make(const std::string& subject, EVP_PKEY* key,
                                                             X509* issuer, EVP_PKEY* issuer_key,
                                                             const std::string& alternative_names) {
  Certificate certificate(Must(X509_new()));
  Must(X509_set_version(certificate.get(), X509_VERSION_3));
  uint64_t serial = 0;
  Must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial));
  Must(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1));
  Must(X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kSeconds));
  Must(X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kSeconds));
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  Must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(subject.data()),
                                  static_cast<int>(subject.size()), -1, 0));
  X509* const signer = issuer == nullptr ? certificate.get() : issuer;
  Must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer)));
  Must(X509_set_pubkey(certificate.get(), key));
  Extend(certificate.get(), signer, NID_basic_constraints,
         issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!alternative_names.empty()) {
    Extend(certificate.get(), signer, NID_subject_alt_name, alternative_names);
  }
  Must(X509_sign(certificate.get(), issuer_key, EVP_sha256()));
  return certificate;
}

}  // namespace pglessor::system
