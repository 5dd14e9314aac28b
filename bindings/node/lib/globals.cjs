// For `require('twocan/globals')`.
require('./globals.js');
