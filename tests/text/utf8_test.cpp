#include "unmask/text/utf8.h"

#include <gtest/gtest.h>

namespace unmask {
namespace {

TEST(Utf8, EveryCodePointIsWellFormedAndReadBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    std::string text = "x";
    append_utf8(c, text);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(check_utf8(text).ok(), !surrogate) << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(code_point_at(text, 1).value, c);
    ASSERT_EQ(code_point_before(text, text.size()).value, c);
  }
}

TEST(Utf8, MalformedBytesAreReplaced) {
  EXPECT_EQ(to_valid_utf8("a\u00e4\u6c34\U0001F600"), "a\u00e4\u6c34\U0001F600");
  EXPECT_EQ(to_valid_utf8("ab\xE6\xB0"), "ab\uFFFD\uFFFD");
  EXPECT_EQ(to_valid_utf8("\x80z\xC3("), "\uFFFDz\uFFFD(");
}

TEST(Utf8, MalformedBytesAreErrorsWithTheirOffset) {
  const std::vector<std::string> malformed = {"\x80",
                                              "\xC0\x80",
                                              "\xC1\xBF",
                                              "\xE0\x80\x80",
                                              "\xED\xA0\x80",
                                              "\xC3",
                                              "\xE2\x82",
                                              "\xF0\x9F\x98",
                                              "\xF0\x80\x80\x80",
                                              "\xF4\x90\x80\x80",
                                              "\xC3\x28",
                                              "\xE2\x28\xA1",
                                              "\xF8\x88\x80\x80",
                                              "\xFF"};
  for (const std::string& bytes : malformed) {
    for (const std::string prefix : {"", "0123456789", "\u00e9"}) {
      const Status status = check_utf8(prefix + bytes + "tail");
      ASSERT_FALSE(status);
      EXPECT_NE(status.error().message.find(fmt::format("offset {};", prefix.size())),
                std::string::npos)
          << status.error().message;
    }
  }
}

TEST(Nfc, ComposesAcrossAsciiAndLeavesTheRest) {
  EXPECT_EQ(to_nfc("plain"), "plain");
  EXPECT_EQ(to_nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(to_nfc("abe\u0301cd o\u0323\u0302!"), "ab\u00e9cd \u1ed9!");
  EXPECT_EQ(to_nfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(to_nfc("\u212b"), "\u00c5");
  EXPECT_EQ(to_nfc("\u0301e"), "\u0301e");
  EXPECT_EQ(to_nfc("\u00e9\u0323"), "\u1eb9\u0301");  // marks are put in order first
  EXPECT_EQ(to_nfc(std::string("a\0e\u0301", 5)), std::string("a\0\u00e9", 4));
  EXPECT_EQ(to_nfc(""), "");
}

}  // namespace
}  // namespace unmask
