# The installed library: find_package(unmask), target unmask::unmask.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
