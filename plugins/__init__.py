"""Transport plugins: a package each; other distributions may add theirs under the same name."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
