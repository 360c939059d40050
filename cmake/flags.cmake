add_library(project_flags INTERFACE)
target_compile_definitions(project_flags INTERFACE _GNU_SOURCE GUILDBUS_VERSION="${PROJECT_VERSION}"
  SQLITE_ENABLE_PREUPDATE_HOOK SQLITE_ENABLE_SESSION
  GUILDBUS_FAILPOINTS=$<BOOL:${FAILPOINTS}>)
target_include_directories(project_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
# -Wcast-qual is gcc's: clang also finds it in protobuf-c's *__INIT macros, which we cannot change.
target_compile_options(project_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
  -Wpointer-arith $<$<C_COMPILER_ID:GNU>:-Wcast-qual> -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wconversion
  -Wno-sign-conversion -Wimplicit-fallthrough -Wswitch-enum -Wnull-dereference -Wdouble-promotion
  -fno-common -fstack-protector-strong
  "SHELL:-include ${PROJECT_SOURCE_DIR}/base/banned.h"
  $<$<BOOL:${WERROR}>:-Werror>)
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(project_flags INTERFACE -O2 -D_FORTIFY_SOURCE=2 -fPIE)
  target_link_options(project_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
if(SANITIZE)
  add_compile_options(-fsanitize=${SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SANITIZE})
endif()
if(FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
