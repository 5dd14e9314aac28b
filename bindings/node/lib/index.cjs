// For `require('twocan')`: the same module, which Node loads synchronously.
module.exports = require('./index.js');
